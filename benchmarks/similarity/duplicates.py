"""Recall of injected copies, and false pairs among different pictures, of the search for exact duplicates.

    python -m benchmarks.similarity.duplicates SHOP CLOTHING --of general-small

F7 proposes pairs within the calibrated distance; then the pixels of thumbnails decide. Pairs of different pictures
that pass are listed, since data sets have some pictures twice.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from app.search.same_picture import same_picture
from benchmarks.similarity.encoded import Encoded, encode_pictures
from benchmarks.similarity.pictures import COPIES, EDITS, Picture, read_clothing, read_shop
from models.checkpoint.files import load
from models.checkpoint.similarity import Similarity

EDITED, BLOCK = 500, 256


def main() -> None:
    """Measure each network and each data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("clothing", type=Path)
    parser.add_argument("--of", default="general-small", help="networks, separated by commas")
    options = parser.parse_args()
    sets = {"shop": read_shop(options.shop), "clothing": read_clothing(options.clothing)}
    for name in options.of.split(","):
        network, info = load(name)
        if info.similarity is None:
            raise SystemExit(f"{name} is not calibrated.")
        for data_set, pictures in sets.items():
            order = np.random.default_rng(0).permutation(len(pictures))
            mixed = [pictures[at] for at in order]
            encoded = encode_pictures(network, mixed, COPIES | EDITS, EDITED)
            print(f"{name}, {data_set}: {len(mixed):,} pictures\n")
            print("\n".join(report(info.similarity, mixed, encoded)), flush=True)


def report(similarity: Similarity, pictures: Sequence[Picture], encoded: Encoded) -> Iterator[str]:
    """Yield lines: the share of each edit that is found, and the pairs of different pictures that are."""
    yield "| copies and edits | proposed by F7 | same pixels | found |"
    yield "| --- | --- | --- | --- |"
    for name, pairs in encoded.edits.items():
        proposed = encoded.distances(pairs) <= similarity.copies
        same = np.array([same_picture(encoded.signatures[one], encoded.signatures[other]) for one, other in pairs])
        shares = (np.mean(proposed), np.mean(same), np.mean(proposed & same))
        yield f"| {name} | {' | '.join(f'{100 * share:.1f}%' for share in shares)} |"
    proposed_pairs = list(_proposed(encoded, len(pictures), similarity.copies))
    false = [pair for pair in proposed_pairs if same_picture(*(encoded.signatures[row] for row in pair))]
    images = len({row for pair in false for row in pair})
    yield f"\n{len(proposed_pairs):,} pairs of different pictures proposed by F7, {len(false)} of them with the same "
    yield f"pixels: {images} pictures, {100 * images / len(pictures):.2f}%\n"
    yield from (f"{pictures[one].path} {pictures[other].path}" for one, other in false)


def _proposed(encoded: Encoded, count: int, distance: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs of the first `count` rows within a distance."""
    features = encoded.features[:count].astype(np.float64)
    squares = np.einsum("ij,ij->i", features, features)
    for first in range(0, count, BLOCK):
        block = features[first : first + BLOCK]
        squared = squares[first : first + BLOCK, None] + squares - 2 * (block @ features.T)
        for one, other in np.argwhere(squared <= distance**2):
            if first + one < other:
                yield int(first + one), int(other)


if __name__ == "__main__":
    main()
