"""Shards: packing, indexing, order of epochs, errors, and training on them."""

import errno
import os
import tarfile
from collections.abc import Callable
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from models.data.dataset import read_splits
from models.data.folders import TEST, TRAIN, VALIDATION
from models.data.make_shards import make_shards
from models.data.shard_index import index_path, read_index
from models.data.shards import PREFETCHED_BATCHES, SHUFFLED_SHARDS, Shards, read_class_names, shards_in
from models.data.training_data import batches, read
from models.errors import DatasetError
from models.network.preprocess import Preprocess
from models.training import train as training
from models.training.config import TrainingConfig
from models.training.progress import TrainingProgress
from models.training.train import train
from tests.images import encoded, gradient
from tests.models.folders import COLOURS, coloured_folder

PREPARE = Preprocess(8, "stretch", (0, 0, 0), (1, 1, 1))
RECIPE = TrainingConfig(backbone="small", imagenet=False, bits=16, size=24, epochs=2, batch=8, average=0.6, rate=0.1)
EACH, IMAGES_PER_SHARD = 40, 8

pytestmark = pytest.mark.usefixtures("one_thread")


def ignore(_done: int, _total: int) -> None:
    """Ignore progress."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured_folder(tmp_path_factory.mktemp("labelled") / "pictures", per_class=EACH)


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    make_shards(folder, tmp_path / "packed", ignore, images=IMAGES_PER_SHARD)
    return tmp_path / "packed"


def write(path: Path, *members: tuple[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]  # modes are literals there
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, BytesIO(data))
    return path


def opened(folder: Path) -> Shards:
    return Shards(read_index(shards_in(folder)), PREPARE)


def jpeg(width: int = 16) -> bytes:
    return encoded(gradient(width, 12), "JPEG")


def test_shards_contain_the_folder(folder: Path, packed: Path) -> None:
    index, files = read_index(shards_in(packed)), read_splits(folder)[TRAIN]
    assert len(shards_in(packed)) == len(COLOURS) * EACH // IMAGES_PER_SHARD
    names = read_class_names(packed, 2)
    found = sorted((names[index.labels[row]], index.read(row)) for row in range(len(index)))
    assert found == sorted(
        (files.classes[label], path.read_bytes()) for label, path in zip(files.labels, files.paths, strict=True)
    )


def test_shards_are_reproducible(folder: Path, packed: Path, tmp_path: Path) -> None:
    make_shards(folder, tmp_path / "again", ignore, images=IMAGES_PER_SHARD)
    for one, other in zip(shards_in(packed), shards_in(tmp_path / "again"), strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_make_shards_downscales_and_skips_unreadable_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "1.png").write_bytes(encoded(gradient(600, 400), "PNG"))
    (tmp_path / "pictures" / "a" / "2.jpg").write_bytes(b"no picture")
    made = make_shards(tmp_path / "pictures", tmp_path / "packed", ignore, side=100)
    assert (made.images, made.shards) == (2, 1)
    assert [path.name for path in made.unreadable] == ["2.jpg"]
    index = read_index(shards_in(tmp_path / "packed"))
    for row in range(2):
        with Image.open(BytesIO(index.read(row))) as small:
            assert (small.format, small.size) == ("JPEG", (150, 100))
    with pytest.raises(DatasetError, match="already contains archives"):
        make_shards(tmp_path / "pictures", tmp_path / "packed", ignore)


def test_unreadable_file_is_skipped_and_listed(tmp_path: Path) -> None:
    folder = coloured_folder(tmp_path / "pictures", per_class=2)
    (folder / "red" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    made = make_shards(folder, tmp_path / "packed", ignore)
    assert made.images == 6
    assert [path.name for path in made.unreadable] == ["gone.jpg"]


def test_make_shards_keeps_splits_separate(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        coloured_folder(tmp_path / "pictures" / split, per_class=4)
    made = make_shards(tmp_path / "pictures", tmp_path / "packed", ignore)
    assert (made.images, made.shards) == (24, 2)
    assert not shards_in(tmp_path / "packed", TEST), "nothing reads archives of it"
    data = read(tmp_path / "packed", RECIPE)
    assert len(shards_in(tmp_path / "packed", VALIDATION)) == 1
    assert (len(data.training.labels), len(data.held_out.labels)) == (12, 12)


def test_archives_of_other_tools_are_read(tmp_path: Path) -> None:
    write(
        tmp_path / "train-000.tar",
        ("some/where/0001.JPG", jpeg(20)),
        ("some/where/0001.json", b"{}"),
        ("some/where/0001.cls", b"1\n"),
        ("0002.cls", b"0"),
        ("0002.seg.txt", b"nothing"),
        ("0002.png", encoded(gradient(30, 20), "PNG")),
        ("__notes__.txt", b"passed over"),
    )
    index = read_index(shards_in(tmp_path))
    assert index.labels.tolist() == [1, 0]
    assert index.read(0) == jpeg(20)
    assert read_class_names(tmp_path, 1) == ("0", "1")


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ((("1.jpg", b"x"),), r"1 has no class\. Add 1\.cls with a class number"),
        ((("1.jpg", b"x"), ("1.cls", b"boots")), "1 has no class"),
        ((("1.jpg", b"x"), ("1.cls", b"-1")), "1 has no class"),
        ((("1.txt", b"x"),), "contain no labelled images"),
        ((), "contain no labelled images"),
    ],
)
def test_samples_without_a_class_raise(tmp_path: Path, members: tuple[tuple[str, bytes], ...], expected: str) -> None:
    write(tmp_path / "train-0.tar", *members)
    with pytest.raises(DatasetError, match=expected):
        read_index(shards_in(tmp_path))


def test_compressed_truncated_and_invalid_archives_raise(tmp_path: Path) -> None:
    whole = write(tmp_path / "a" / "train-0.tar", ("1.jpg", jpeg()), ("1.cls", b"0"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "train-0.tar").write_bytes(whole.read_bytes()[:600])
    write(tmp_path / "c" / "train-0.tar", ("1.jpg", jpeg()), ("1.cls", b"0"), mode="w:gz")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "train-0.tar").write_bytes(b"no archive" * 100)
    for name in "bcd":
        with pytest.raises(DatasetError, match=r"train-0\.tar cannot be read as an uncompressed tar archive"):
            read_index(shards_in(tmp_path / name))


def test_missing_class_names_raise(packed: Path) -> None:
    (packed / "classes.txt").write_text("blue\ngreen\n")
    with pytest.raises(DatasetError, match="has 2 names, but the archives contain class 2"):
        read(packed, RECIPE)


def test_index_is_cached_and_rebuilt_when_an_archive_changes(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_index(shards_in(packed))
    assert index_path(shards_in(packed)).exists()
    with monkeypatch.context() as patched:
        patched.setattr(tarfile, "open", lambda *_, **__: pytest.fail("it is known"))
        again = read_index(shards_in(packed))
    np.testing.assert_array_equal(first.offsets, again.offsets)
    write(shards_in(packed)[0], ("1.jpg", jpeg()), ("1.cls", b"2"))
    assert len(read_index(shards_in(packed))) == len(first) - IMAGES_PER_SHARD + 1
    index_path(shards_in(packed)).write_bytes(b"damaged")
    assert len(read_index(shards_in(packed))) == len(first) - IMAGES_PER_SHARD + 1


def test_index_works_in_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    write(tmp_path / "train-0.tar", ("1.jpg", jpeg()), ("1.cls", b"0"))
    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", read_only)
        patched.setattr(Path, "unlink", read_only)
        assert len(read_index(shards_in(tmp_path))) == 1
    assert not index_path(shards_in(tmp_path)).exists()


def test_epoch_order_covers_every_image_once_from_few_shards_at_a_time(packed: Path) -> None:
    shards = opened(packed)
    first, again, other = (shards.order(seed) for seed in (1, 1, 2))
    assert sorted(first) == list(range(len(COLOURS) * EACH))
    np.testing.assert_array_equal(first, again)
    assert first.tolist() != other.tolist()
    for begin in range(0, len(first), SHUFFLED_SHARDS * IMAGES_PER_SHARD):
        assert (
            len(set(shards.index.shards[first[begin : begin + SHUFFLED_SHARDS * IMAGES_PER_SHARD]].tolist()))
            <= SHUFFLED_SHARDS
        )


def test_stream_yields_the_requested_rows_with_limited_prefetch(packed: Path) -> None:
    decoded = 0

    class Counting(Preprocess):
        def __call__(self, image: Image.Image, *, whole: bool = False) -> NDArray[np.uint8]:
            nonlocal decoded
            decoded += 1
            return super().__call__(image, whole=whole)

    shards = replace(opened(packed), preprocess=Counting(**asdict(PREPARE)))
    rows = np.random.default_rng(0).permutation(len(shards.labels))
    parts = [rows[begin : begin + 4] for begin in range(0, len(rows), 4)]
    for at, (part, (images, labels)) in enumerate(zip(parts, shards.stream(parts), strict=True)):
        assert decoded <= 4 * (at + PREFETCHED_BATCHES + 2)
        np.testing.assert_array_equal(labels, shards.labels[part])
        for row, prepared in zip(part, images, strict=True):
            with Image.open(BytesIO(shards.index.read(row))) as image:
                np.testing.assert_array_equal(prepared, PREPARE(image.convert("RGB")))


def test_unreadable_image_is_replaced_by_another_of_its_batch(tmp_path: Path) -> None:
    good = [(f"{at}.jpg", jpeg(20 + at)) for at in range(3)]
    members = [pair for at, one in enumerate(good) for pair in (one, (f"{at}.cls", b"%d" % at))]
    members[2] = ("1.jpg", b"torn")
    write(tmp_path / "train-0.tar", *members)
    shards = opened(tmp_path)
    ((images, labels),) = shards.stream([np.array([0, 1, 2])])
    assert labels.tolist() == [0, 2, 2]
    np.testing.assert_array_equal(images[1], images[2])
    assert shards.unreadable == {1}
    with pytest.raises(DatasetError, match="none of 1 images is readable"):
        list(shards.stream([np.array([1])]))


def test_unshuffled_shards_give_a_warning(tmp_path: Path) -> None:
    for label in range(4):
        members = [
            (f"{at}.{kind}", data) for at in range(6) for kind, data in (("jpg", jpeg()), ("cls", b"%d" % label))
        ]
        write(tmp_path / f"train-{label}.tar", *members)
    (warning,) = read(tmp_path, RECIPE).warnings
    assert "images of only 1 of 4 classes" in warning


def stop_when(reached: Callable[[TrainingProgress], bool]) -> Callable[[TrainingProgress], None]:
    def report(progress: TrainingProgress) -> None:
        if reached(progress):
            raise KeyboardInterrupt

    return report


def test_training_from_shards(packed: Path, tmp_path: Path) -> None:
    info = train(packed, tmp_path / "net", replace(RECIPE, epochs=4))
    assert info.classes == ("blue", "green", "red")
    assert info.metrics["held_out_accuracy"] >= 0.9
    assert info.training["pictures"] + info.metrics["held_out_pictures"] == len(COLOURS) * EACH


@pytest.mark.parametrize("step", [5, 11])
def test_run_interrupted_within_an_epoch_resumes_to_the_same_weights(
    packed: Path, tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "SAVE_INTERVAL", 4)
    whole = train(packed, tmp_path / "whole", RECIPE)
    with pytest.raises(KeyboardInterrupt):
        train(packed, tmp_path / "net", RECIPE, stop_when(lambda now: now.epoch == 2 and now.step == step))
    seen: list[TrainingProgress] = []
    again = train(packed, tmp_path / "net", RECIPE, seen.append)
    assert seen[0].step == step // 4 * 4 + 1, "not from the epoch's beginning"
    assert again.fingerprint == whole.fingerprint
    assert again.training["history"] == whole.training["history"]


def test_batches_resume_in_the_middle_of_an_epoch(packed: Path) -> None:
    data = read(packed, RECIPE)
    whole, rest = (list(batches(data.training, RECIPE, 3, begin)) for begin in (0, 5))
    assert len(rest) == len(whole) - 5 > 0
    for (images, labels), (same_pictures, same_labels) in zip(whole[5:], rest, strict=True):
        assert torch.equal(images, same_pictures)
        assert torch.equal(labels, same_labels)
