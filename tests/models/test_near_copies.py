"""Near-copies: grouping by F7, what an interrupted run remembers, and when products are known or not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from models.data.dataset import read_splits
from models.data.folders import TRAIN, VALIDATION
from models.network.codes import unit_length
from models.training import near_copies
from models.training.near_copies import connected, cosine_threshold, find_near_copies, with_products
from models.training.requirements import RunFiles
from tests.images import corners, gradient


def vectors(*degrees: float) -> np.typing.NDArray[np.float32]:
    angles = np.radians(degrees)
    return 7 * np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_rows_are_connected_through_others() -> None:
    assert connected(unit_length(vectors(0, 90, 4, 8, 94, 45)), np.cos(np.radians(5))).tolist() == [0, 1, 0, 0, 1, 5]


def test_components_equal_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_copies, "_BLOCK", 16)
    rows = unit_length(np.random.default_rng(0).normal(size=(150, 4)).astype(np.float32))
    reached = rows @ rows.T > 0.95
    for _ in range(8):
        reached = (reached.astype(int) @ reached.astype(int)) > 0
    np.testing.assert_array_equal(connected(rows, 0.95), reached.argmax(axis=1))


def test_threshold_is_what_one_in_ten_images_exceeds_with_another_class() -> None:
    rng = np.random.default_rng(0)
    rows, labels = unit_length(rng.normal(size=(400, 16)).astype(np.float32)), rng.integers(0, 4, 400)
    threshold = cosine_threshold(rows, labels)
    cosines = np.where(labels[:, None] == labels, -1, rows @ rows.T)
    assert np.mean(cosines.max(axis=1) > threshold) == pytest.approx(0.1, abs=0.003)


def test_products_are_found_and_groups_stay_small_enough_to_be_held_out() -> None:
    rng = np.random.default_rng(0)
    # Two classes of 40 products with three images each, which differ less than products do.
    products = np.repeat(np.arange(80), 3)
    labels = products // 40
    centres = rng.normal(size=(80, 32)) + 2 * np.eye(32)[labels.reshape(-1, 3)[:, 0]]
    features = (centres[products] + rng.normal(0, 0.15, (240, 32))).astype(np.float32)
    groups = find_near_copies(features, labels)
    together = [len(set(groups[products == product].tolist())) == 1 for product in range(80)]
    assert np.mean(together) > 0.95
    assert max(np.bincount(groups)) <= 12
    assert all(len(set(labels[groups == group].tolist())) == 1 for group in np.unique(groups))


def test_class_of_equal_images_has_groups_of_one() -> None:
    features = np.concatenate([np.tile(vectors(0), (20, 1)), vectors(*np.linspace(80, 100, 20))])
    groups = find_near_copies(features, np.repeat([0, 1], 20))
    assert groups[:20].tolist() == list(range(20))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of different images; one class has a mirrored, a darker and a smaller copy of an image."""
    folder = tmp_path / "pictures"
    rng = np.random.default_rng(0)
    for label in "ab":
        (folder / label).mkdir(parents=True)
        for at in range(40):
            noise = Image.fromarray(rng.integers(0, 256, (6, 6, 3), np.uint8)).resize((96, 96))
            noise.save(folder / label / f"{at:02}.png")
    original = Image.blend(gradient(96, 96), corners(96, 96), 0.5)
    copies = (original, ImageOps.mirror(original), ImageEnhance.Brightness(original).enhance(0.9))
    for at, image in enumerate((*copies, original.resize((64, 64)))):
        image.save(folder / "a" / f"copy{at}.png")
    return folder


def test_edited_copies_are_found_remembered_and_described(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits, notes, run = read_splits(pictures), list[str](), RunFiles(tmp_path / "runs" / "net")
    found = with_products(splits, run, lambda *_: None, notes.append)[TRAIN]
    assert found.products is not None
    groups = {
        str(at): {path.name for path, it in zip(found.paths, found.products, strict=True) if it == at}
        for at in found.products
    }
    assert {f"copy{at}.png" for at in range(4)} in groups.values()
    assert any("near-copies" in note for note in notes)
    monkeypatch.setattr(near_copies, "encode_files", lambda *_: pytest.fail("computed again"))
    again = with_products(splits, run, lambda *_: None, notes.append)[TRAIN]
    np.testing.assert_array_equal(again.products, found.products)


def test_other_files_are_compared_anew(pictures: Path, tmp_path: Path) -> None:
    run = RunFiles(tmp_path / "net")
    with_products(read_splits(pictures), run, lambda *_: None, lambda _: None)
    (pictures / "b" / "00.png").unlink()
    found = with_products(read_splits(pictures), run, lambda *_: None, lambda _: None)[TRAIN]
    assert found.products is not None
    assert len(found.products) == len(found)


def test_known_products_are_kept_unless_each_image_has_its_own(pictures: Path, tmp_path: Path) -> None:
    files = read_splits(pictures)[TRAIN]
    known = replace(files, products=np.arange(len(files)) // 2)
    run, notes = RunFiles(tmp_path / "net"), list[str]()
    assert with_products({TRAIN: known}, run, lambda *_: None, notes.append)[TRAIN] is known
    assert notes == []
    alone = replace(files, products=np.arange(len(files)))
    found = with_products({TRAIN: alone}, run, lambda *_: None, notes.append)[TRAIN]
    assert notes[0].startswith("Every image is of another product")
    assert found.products is not None
    assert len(np.unique(found.products)) < len(files)


def test_validation_split_is_left_as_it_is(pictures: Path, tmp_path: Path) -> None:
    files = read_splits(pictures)[TRAIN]
    splits = {TRAIN: files, VALIDATION: files}
    assert with_products(splits, RunFiles(tmp_path / "net"), lambda *_: None, lambda _: None) is splits
