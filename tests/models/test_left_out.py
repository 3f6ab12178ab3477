"""Files and folders that are left out of data sets: which, and how they are counted and named."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.data.dataset import read_splits, read_unlabelled
from models.data.folders import note_missing_classes
from models.data.left_out import (
    FOLDER_LINKS,
    HIDDEN_FILES,
    IN_HIDDEN_FOLDERS,
    IN_SYSTEM_FOLDERS,
    MAX_NAMES,
    SYSTEM_FILES_FOUND,
    LeftOut,
    left_out_path,
    walk_images,
)
from models.data.make_shards import make_shards
from models.data.training_data import read
from models.errors import DatasetError
from models.training.config import TrainingConfig

RECIPE = TrainingConfig(backbone="small", size=24, imagenet=False)


def touch(folder: Path, *names: str) -> Path:
    """Write images of one pixel, by path."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1, 1)).save(path, "PNG")
    return folder


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a/b.jpg", None),
        ("b.jpg", None),
        ("a/.b.jpg", (HIDDEN_FILES, "a/.b.jpg")),
        (".a/b.jpg", (IN_HIDDEN_FOLDERS, ".a")),
        ("x/.a/c/.b.jpg", (IN_HIDDEN_FOLDERS, "x/.a")),
        ("x/@eaDir/b.jpg/thumb.jpg", (IN_SYSTEM_FOLDERS, "x/@eaDir")),
        ("__MACOSX/._b.jpg", (IN_SYSTEM_FOLDERS, "__MACOSX")),
        ("$Recycle.Bin/b.jpg", (IN_SYSTEM_FOLDERS, "$Recycle.Bin")),
        ("#recycle/b.jpg", (IN_SYSTEM_FOLDERS, "#recycle")),
        ("a/THUMBS.DB", (SYSTEM_FILES_FOUND, "a/THUMBS.DB")),
        ("a/.DS_Store", (SYSTEM_FILES_FOUND, "a/.DS_Store")),
        ("a/../b.jpg", None),
    ],
)
def test_hidden_and_system_paths_are_left_out(path: str, reason: tuple[str, str] | None) -> None:
    assert left_out_path(path) == reason


def test_left_out_images_are_counted_and_their_folders_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", ".git/2.png", ".git/deep/3.png", "a/@eaDir/1.png/4.png", "a/.5.png")
    (tmp_path / ".git" / "config").write_text("")
    (tmp_path / ".empty").mkdir()
    (tmp_path / "a" / "Thumbs.db").write_text("")
    (tmp_path / "link").symlink_to("a")
    left_out = LeftOut()
    found = list(walk_images(tmp_path, lambda name: name.endswith(".png"), left_out))
    assert found == [tmp_path / "a" / "1.png"]
    assert sorted(left_out.lines()) == [
        f"{HIDDEN_FILES}: 1 (a/.5.png)",
        f"{IN_HIDDEN_FOLDERS}: 2 (.git)",
        f"{IN_SYSTEM_FOLDERS}: 1 (a/@eaDir)",
        f"{FOLDER_LINKS}: 1 (link)",
        f"{SYSTEM_FILES_FOUND}: 1 (a/Thumbs.db)",
    ]


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=4), st.integers(0, 5)), max_size=20), st.integers(0, 20)
)
@settings(deadline=None)
def test_counts_of_several_sources_add_up(found: list[tuple[str, str, int]], cut: int) -> None:
    whole, first, second = LeftOut(), LeftOut(), LeftOut()
    for number, one in enumerate(found):
        whole.add(*one)
        (first if number < cut else second).add(*one)
    first.merge(second)
    for reason, examples in whole.reasons.items():
        assert first.reasons[reason].count == examples.count == sum(count for name, _, count in found if name == reason)
        assert len(examples.names) == len(set(examples.names)) <= MAX_NAMES
    assert first.reasons.keys() == whole.reasons.keys()
    assert LeftOut.from_json(whole.to_json()) == whole


@pytest.mark.parametrize(
    "value",
    [None, [], {"a": 1}, {"a": {"count": 1}}, {"a": {"count": -1, "names": []}}, {"a": {"count": 1, "names": "ab"}},
     {"a": {"count": "1", "names": []}}, {"a": {"count": 1, "names": ["x"] * 99}}, {str(at): {} for at in range(99)}],
)  # fmt: skip
def test_malformed_counts_of_an_untrusted_process_are_rejected(value: object) -> None:
    with pytest.raises(ValueError, match="malformed"):
        LeftOut.from_json(value)


def test_classes_in_both_normalisation_forms_are_one(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        touch(tmp_path, f"{unicodedata.normalize(form, 'é')}/{form}.png", "b/1.png")
    files = read_splits(tmp_path)["train"]
    assert files.classes == ("b", "é")
    assert [path.name for path, label in zip(files.paths, files.labels, strict=True) if label == 1] == [
        "NFD.png",
        "NFC.png",
    ]


def test_splits_are_recognised_in_any_case(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "Train/a/1.png",
        "Train/b/1.png",
        "TEST/a/2.png",
        "TEST/b/2.png",
        "Val/a/3.png",
        "Val/b/3.png",
        "x/4.png",
    )
    splits = read_splits(tmp_path)
    assert {split: len(files) for split, files in splits.items()} == {"train": 2, "test": 2, "validation": 2}
    assert "Folders beside the splits left out: 1 (x)" in splits["train"].notes
    touch(tmp_path, "training/a/1.png")
    with pytest.raises(DatasetError, match=r"are both the split train. Merge or rename one"):
        read_splits(tmp_path)


def test_linked_class_folders_are_read_and_named(tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere/1.png", "data/a/1.png")
    data = tmp_path / "data"
    (data / "b").symlink_to(tmp_path / "elsewhere")
    (data / "broken").symlink_to("nowhere")
    (data / "loop").symlink_to(data)
    (data / "a" / "nested").symlink_to(tmp_path / "elsewhere")
    files = read_splits(data)["train"]
    assert (files.classes, len(files)) == (("a", "b"), 2)
    assert files.notes == (
        f"{data / 'broken'} is a link to nowhere, which cannot be opened; it is left out.",
        f"{data / 'loop'} is a link to a folder that contains it; it is left out.",
        f"{data / 'b'} is a link to {tmp_path / 'elsewhere'}, whose images are used.",
        f"{FOLDER_LINKS}: 1 (a/nested)",
    )


def test_folders_without_images_and_loose_images_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png", "loose.png", "@eaDir/3.png", "a/.4.png")
    (tmp_path / "empty").mkdir()
    assert set(read_splits(tmp_path)["train"].notes) == {
        "Class folders without images left out: 1 (empty)",
        "Images outside class folders left out: 1 (loose.png)",
        f"{IN_SYSTEM_FOLDERS}: 1 (@eaDir)",
        f"{HIDDEN_FILES}: 1 (a/.4.png)",
    }
    assert set(read_unlabelled(tmp_path, 10, 0).notes) == {
        f"{IN_SYSTEM_FOLDERS}: 1 (@eaDir)",
        f"{HIDDEN_FILES}: 1 (a/.4.png)",
    }


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "b/2.png", "closed/3.png")
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files = read_splits(tmp_path)["train"]
    assert files.classes == ("a", "b")
    assert f"{tmp_path / 'closed'} cannot be read (Permission denied); its images are left out." in files.notes


def test_classes_of_which_nothing_can_be_read_are_named(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{at}.png" for name in "abc" for at in range(3)))
    for path in (tmp_path / "b").iterdir():
        path.write_bytes(b"no picture")
    warnings = read(tmp_path, RECIPE).warnings
    assert "No image can be read of these classes: b." in warnings
    packed = make_shards(tmp_path, tmp_path / "shards", lambda *_: None)
    assert packed.notes == ("No image can be read of these classes: b.",)
    for path in (tmp_path / "c").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DatasetError, match=r"readable images of one class, a. Training needs two"):
        read(tmp_path, RECIPE)


def test_missing_classes_are_listed_up_to_ten() -> None:
    names = [str(at) for at in range(20)]
    (note,) = note_missing_classes(names, np.array([0, 1]), np.array([2]))
    assert note.endswith("11, 12 and 7 more.")
    assert note_missing_classes(["a"], np.array([0])) == ()
