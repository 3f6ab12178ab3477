"""Labelled folders: listing, errors, skipped files, memory."""

import errno
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.data.dataset import (
    LabelledFiles,
    allocate_images,
    available_memory,
    load_images,
    open_rgb,
    read_splits,
    read_unlabelled,
)
from models.errors import DatasetError
from models.network.preprocess import Preprocess
from tests.images import encoded, gradient

PREPARE = Preprocess(8, "stretch", (0, 0, 0), (1, 1, 1))


def touch(folder: Path, *names: str) -> Path:
    """Write images of one pixel, by path."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1, 1)).save(path)
    return folder


def names(files: LabelledFiles) -> list[tuple[str, str]]:
    return [(files.classes[label], path.name) for label, path in zip(files.labels, files.paths, strict=True)]


def test_class_folder_is_one_sorted_split(tmp_path: Path) -> None:
    touch(tmp_path, "b/2.png", "a/1.JPG", "a/0.webp", "b/deeper/3.gif", "empty/../c/x.bmp", ".hidden/4.png", "5.png")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "a" / "notes.txt").write_text("no image")
    splits = read_splits(tmp_path)
    assert list(splits) == ["train"]
    assert splits["train"].classes == ("a", "b", "c")
    assert names(splits["train"]) == [("a", "0.webp"), ("a", "1.JPG"), ("b", "2.png"), ("b", "3.gif"), ("c", "x.bmp")]


def test_split_folders_are_recognised_by_alternative_names(tmp_path: Path) -> None:
    touch(
        tmp_path, "training/a/1.png", "training/b/1.png", "val/a/2.png", "val/b/2.png", "test/a/3.png", "test/b/3.png"
    )
    splits = read_splits(tmp_path)
    assert set(splits) == {"train", "validation", "test"}
    assert {split: names(files)[0] for split, files in splits.items()} == {
        "train": ("a", "1.png"),
        "validation": ("a", "2.png"),
        "test": ("a", "3.png"),
    }


def test_splits_with_different_classes_raise(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png")
    with pytest.raises(DatasetError, match="differ from those of train: b, c"):
        read_splits(tmp_path)


def test_folders_without_a_data_set_raise(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a folder"):
        read_splits(tmp_path / "missing")
    with pytest.raises(DatasetError, match="contains no labelled images"):
        read_splits(tmp_path)
    touch(tmp_path, "loose.png")
    with pytest.raises(DatasetError, match="contains no labelled images"):
        read_splits(tmp_path)


def test_unlabelled_images_are_found_at_any_depth_and_sampled_by_seed(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{at % 3}/{at}.png" for at in range(20)), "loose.png")
    everything = read_unlabelled(tmp_path, 100, 0)
    assert len(everything) == 21
    some, again, others = (read_unlabelled(tmp_path, 6, seed) for seed in (0, 0, 1))
    assert some.paths == again.paths != others.paths
    assert len(set(some.paths)) == 6
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="contains no images"):
        read_unlabelled(tmp_path / "empty", 5, 0)


def test_load_images_skips_and_lists_unreadable_files(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.png", "b/2.png")
    (tmp_path / "a" / "0.jpg").write_bytes(b"no picture")
    (tmp_path / "b" / "1.jpg").write_bytes(encoded(gradient())[:200])
    (tmp_path / "b" / "3.png").mkdir()  # a folder, although it is named like an image
    done: list[int] = []
    loaded = load_images(read_splits(tmp_path)["train"], PREPARE, done.append)
    assert loaded.images.shape == (2, 8, 8, 3)
    assert loaded.labels.tolist() == [0, 1]
    assert sorted(path.name for path in loaded.unreadable) == ["0.jpg", "1.jpg"]
    assert done == [1, 2, 3, 4]


def test_load_images_without_a_readable_file_raises(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="None of the 1 files"):
        load_images(read_splits(tmp_path)["train"], PREPARE)


def test_open_rgb_applies_orientation_and_white_background(tmp_path: Path) -> None:
    (tmp_path / "turned.jpg").write_bytes(encoded(gradient(64, 48), orientation=6))
    assert open_rgb(tmp_path / "turned.jpg").size == (64, 48)
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    clear = open_rgb(tmp_path / "clear.png")
    assert (clear.mode, clear.getpixel((0, 0))) == ("RGB", (255, 255, 255))
    Image.new("L", (2, 2), 7).save(tmp_path / "grey.png")
    assert open_rgb(tmp_path / "grey.png").getpixel((1, 1)) == (7, 7, 7)
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(tmp_path / "deep.png")
    assert open_rgb(tmp_path / "deep.png").getpixel((1, 1)) == (156, 156, 156)


# Pillow warns of some damage, such as enormous sizes, before it continues or fails.
@pytest.mark.filterwarnings("ignore::Warning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"])
def test_open_rgb_raises_os_error_for_damaged_files(tmp_path: Path, kind: str) -> None:
    """Whatever a decoder raises, one file must not stop training."""
    whole, rng, path = encoded(gradient(24, 16), kind), np.random.default_rng(0), tmp_path / "damaged"
    for _ in range(60 if kind != "AVIF" else 25):
        data = bytearray(whole[: rng.integers(len(whole) // 4, len(whole) + 1)])
        for at in rng.integers(0, len(data), 6):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            assert open_rgb(path).mode == "RGB"
        except OSError:
            continue


def test_open_rgb_refuses_decompression_bombs(tmp_path: Path) -> None:
    data = bytearray(encoded(gradient(8, 8), "BMP"))
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    (tmp_path / "bomb.bmp").write_bytes(data)
    with pytest.raises(OSError, match="bomb"):
        open_rgb(tmp_path / "bomb.bmp")


def test_loaded_images_can_be_sampled_and_resized(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{name}/{at}.png" for name in "ab" for at in range(5)))
    loaded = load_images(read_splits(tmp_path)["train"], PREPARE)
    few = loaded.sample(3, seed=0)
    assert (len(few.labels), len(few.images), len(loaded.sample(99, 0).labels)) == (3, 3, 10)
    assert few.resized(4).images.shape == (3, 4, 4, 3)


def test_images_larger_than_memory_are_stored_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a/1.png", "a/2.png", "b/1.png")
    in_memory = load_images(read_splits(tmp_path)["train"], PREPARE)
    monkeypatch.setattr("models.data.dataset.MEMORY_FRACTION", 0)
    on_disk = load_images(read_splits(tmp_path)["train"], PREPARE)
    assert isinstance(on_disk.images, np.memmap)
    np.testing.assert_array_equal(on_disk.images, in_memory.images)


def test_available_memory_is_limited_by_container_and_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = tmp_path / "memory.max"
    whole = available_memory(limit)
    limit.write_text("max\n")
    assert available_memory(limit) == whole
    limit.write_text("1000000\n")
    assert available_memory(limit) == 1_000_000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert available_memory(limit) == 250_000


def test_missing_disk_space_raises_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("models.data.dataset.MEMORY_FRACTION", 0)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(DatasetError, match=r"1,000,000 images .* 48 GB.*No space left.*smaller --image-size"):
        allocate_images(1_000_000, (126, 126, 3))
