"""Holding out a share of every class, whole products at a time."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from models.data.dataset import LabelledFiles
from models.data.held_out import single_product_classes, split_files, split_indices


def labelled(*counts: int, products: NDArray[np.int64] | None = None) -> LabelledFiles:
    labels = np.repeat(np.arange(len(counts)), counts)
    paths = tuple(Path(f"{at}.png") for at in range(len(labels)))
    return LabelledFiles(tuple("abcdef"[: len(counts)]), paths, labels, products=products)


def test_held_out_share_is_taken_from_every_class() -> None:
    files = labelled(100, 20, 2, 1)
    rest, held = split_files(files, 0.1, seed=0)
    assert np.bincount(held.labels, minlength=4).tolist() == [10, 2, 1, 0]
    assert sorted(rest.paths + held.paths) == sorted(files.paths)
    assert rest.classes == held.classes == files.classes


def test_held_out_share_shrinks_for_large_sets() -> None:
    rest, held = split_files(labelled(30_000, 10_000), 0.1, seed=0)
    assert np.bincount(held.labels).tolist() == [1500, 500]
    assert len(rest) == 38_000


def test_held_out_split_is_deterministic_for_a_seed() -> None:
    files = labelled(50, 50)
    first, again, other = (split_files(files, 0.2, seed)[1].paths for seed in (3, 3, 4))
    assert first == again != other


@pytest.mark.parametrize("seed", range(5))
def test_products_are_on_one_side_and_shares_are_kept(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 400)
    # One to six images of a product; some products have images of two classes.
    products = np.repeat(np.arange(200), rng.integers(1, 7, 200))[:400]
    rest, held = split_indices(labels, 0.1, seed, products)
    assert not set(products[rest].tolist()) & set(products[held].tolist())
    assert sorted([*rest.tolist(), *held.tolist()]) == list(range(400))
    shares = np.bincount(labels[held], minlength=4) / np.bincount(labels, minlength=4)
    assert (shares > 0.04).all()
    assert (shares < 0.2).all()


def test_large_product_is_trained_on_and_the_smallest_is_held_out_if_all_are_large() -> None:
    products = np.array([0] * 15 + [1, 2, 3, 4, 5])
    _, held = split_indices(np.zeros(20, np.int64), 0.1, 0, products)
    assert set(products[held].tolist()) <= {1, 2, 3, 4, 5}
    products = np.repeat([0, 1, 2], [9, 6, 5])
    _, held = split_indices(np.zeros(20, np.int64), 0.1, 0, products)
    assert products[held].tolist() == [2] * 5


def test_class_of_one_product_has_nothing_held_out_and_is_named() -> None:
    files = labelled(4, 4, 1, products=np.array([0, 0, 0, 0, 1, 1, 2, 2, 3]))
    _, held = split_files(files, 0.1, 0)
    assert set(held.labels.tolist()) == {1}
    assert single_product_classes(files) == ["a", "c"]


def test_products_follow_subsets() -> None:
    files = labelled(3, 3, products=np.array([5, 5, 6, 7, 8, 8]))
    some = files.subset(np.array([1, 5]))
    assert some.products is not None
    assert some.products.tolist() == [5, 8]
