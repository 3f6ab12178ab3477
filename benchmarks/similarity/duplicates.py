"""Whether pixels tell copies of a picture from other pictures: recall of copies, and false pairs among all pictures.

    python -m benchmarks.similarity.duplicates SHOP CLOTHING

Signatures are made as by the service, from thumbnails. Pairs of different pictures with the same pixels are listed,
since data sets have some pictures twice. F7, which proposes the pairs in the service, is left out: `bands.py` measures
the share of copies that it proposes.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from app.search.decode.image import Crop, DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from app.search.same_picture import MAX_DIFFERENCE, Signature, same_picture, signature
from benchmarks.similarity.pictures import COPIES, EDITS, Picture, edited, read_clothing, read_shop
from models.checkpoint.info import find_checkpoint, read_info

EDITED = 250
PREPROCESS = read_info(find_checkpoint("general-small")).preprocess


def main() -> None:
    """Measure both data sets."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("clothing", type=Path)
    options = parser.parse_args()
    for pictures in (read_shop(options.shop), read_clothing(options.clothing)):
        print("\n".join(report(pictures)), flush=True)


def report(pictures: Sequence[Picture]) -> Iterator[str]:
    """Yield lines: the share of each copy and edit with the pixels of its picture, then false pairs."""
    prepare = InProcessPreparer(PREPROCESS, DecodeLimits())
    signatures = [thumbnail_signature(prepare, picture.path.read_bytes()) for picture in pictures]
    found: dict[str, list[bool]] = {name: [] for name in COPIES | EDITS}
    for at in np.random.default_rng(0).permutation(len(pictures))[:EDITED]:
        for name, data in edited(pictures[at], COPIES | EDITS):
            found[name].append(same_picture(signatures[at], thumbnail_signature(prepare, data)))
    yield f"{len(pictures):,} pictures of {pictures[0].data_set}\n\n| copies and edits | same pixels |\n| --- | --- |"
    yield from (f"| {name} | {100 * np.mean(same):.1f}% |" for name, same in found.items())
    pairs = [pair for pair in _similar_means(signatures) if same_picture(*(signatures[at] for at in pair))]
    yield f"\nPairs of different pictures with the same pixels: {len(pairs)}"
    yield from (f"{pictures[one].path} {pictures[other].path}" for one, other in pairs)


def thumbnail_signature(prepare: InProcessPreparer, data: bytes) -> Signature:
    """Return the signature of a file's thumbnail."""
    prepared = prepare(data, thumbnail=True)
    small = prepare(prepared.thumbnail)
    whole = prepare(prepared.thumbnail, crop=Crop(0, 0, small.width, small.height)).image
    return signature(whole, prepared.width, prepared.height)


def _similar_means(signatures: Sequence[Signature]) -> Iterator[tuple[int, int]]:
    """Yield all pairs that may have the same pixels: the means of their colours differ by no more than pixels may."""
    means = np.stack([one.pixels.mean(axis=(0, 1)) for one in signatures])
    for one, mean in enumerate(means):
        apart = np.abs(means[one + 1 :] - mean).mean(axis=1)
        yield from ((one, one + 1 + int(other)) for other in np.flatnonzero(apart <= MAX_DIFFERENCE))


if __name__ == "__main__":
    main()
