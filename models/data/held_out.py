"""Hold out a share of a labelled data set, whole products at a time.

Several images of one product are nearly the same picture. With some of them in the training set, the others would
measure how well the network remembers a product, and not how well it recognises new ones.
"""

import numpy as np
from numpy.typing import NDArray

from models.data.dataset import LabelledFiles

Positions = NDArray[np.int64]

# Share of each class held out from a data set without a validation split, and maximum size of the held-out set.
HELD_OUT, MAX_HELD_OUT = 0.1, 2000


def split_files(files: LabelledFiles, share: float, seed: int) -> tuple[LabelledFiles, LabelledFiles]:
    """Hold out a share of every class, and whole products if they are known; return (rest, held out)."""
    rest, held = split_indices(files.labels, share, seed, files.products)
    return files.subset(rest), files.subset(held)


def split_indices(
    labels: NDArray[np.int64], share: float, seed: int, products: Positions | None = None
) -> tuple[Positions, Positions]:
    """Hold out a share of every class, at least one product of each class with two; return positions (rest, held out).

    Large sets hold out a smaller share, because held-out images are not trained on.

    Args:
        labels: `(n,)`.
        share: share of each class to hold out.
        seed: random seed.
        products: `(n,)`, equal for images of one product; None if every image is of another one.
    """
    share = min(share, MAX_HELD_OUT / max(len(labels), 1))
    products = np.arange(len(labels)) if products is None else products
    rng = np.random.default_rng(seed)
    held = np.zeros(len(labels), bool)
    for label in range(int(labels.max(initial=-1)) + 1):
        members = rng.permutation(np.flatnonzero(labels == label))
        left = max(round(len(members) * share), 1) - int(held[members].sum())
        held |= np.isin(products, _chosen(products[members], left))
    return np.flatnonzero(~held), np.flatnonzero(held)


def single_product_classes(files: LabelledFiles) -> list[str]:
    """List the classes whose images all show one product, of which none can be held out."""
    products = np.arange(len(files)) if files.products is None else files.products
    pairs = np.unique(np.stack([files.labels, products]), axis=1)
    counts = np.bincount(pairs[0], minlength=len(files.classes))
    return [name for name, count in zip(files.classes, counts, strict=True) if count == 1]


def _chosen(products: Positions, wanted: int) -> list[int]:
    """Choose products of a class with together about `wanted` images, in their order, and never all of them.

    A product with more images than are wanted is left for training, unless every product has.
    """
    found, firsts, sizes = np.unique(products, return_index=True, return_counts=True)
    if len(found) == 1 or wanted <= 0:
        return []
    order = np.argsort(firsts)
    chosen: list[int] = []
    left = wanted
    for product, size in zip(found[order][:-1].tolist(), sizes[order][:-1].tolist(), strict=True):
        if size <= left:
            chosen.append(product)
            left -= size
    return chosen or [int(found[order][np.argmin(sizes[order])])]
