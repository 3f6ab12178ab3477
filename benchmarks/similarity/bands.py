"""Share of pairs of each sort in each band of similarity; calibrates shipped networks with `--write`.

    python -m benchmarks.similarity.bands SHOP CLOTHING --of general-small,general-large --pictures 1200 --edited 60

A network is calibrated on one half of the pictures of both data sets, and the shares are of pairs of the other half.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.similarity.encoded import Encoded, Rows, encode_pictures
from benchmarks.similarity.pictures import COPIES, EDITS, Picture, halves, read_clothing, read_shop
from models.checkpoint.calibrate import pairs_between, pairs_within
from models.checkpoint.files import load
from models.checkpoint.info import find_checkpoint, write_info
from models.checkpoint.similarity import BANDS, Similarity, calibrate

# The similarity that copies are to have at least.
COPY = 0.95


def main() -> None:
    """Calibrate, and print a table of each network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("clothing", type=Path)
    parser.add_argument("--of", default="general-small,general-large", help="networks, separated by commas")
    parser.add_argument("--pictures", type=int, help="maximum number of pictures of a half")
    parser.add_argument("--edited", type=int, default=300, help="number of them that are copied and edited")
    parser.add_argument("--write", action="store_true", help="write the calibration into the checkpoints")
    options = parser.parse_args()
    pictures = halves([*read_shop(options.shop), *read_clothing(options.clothing)])
    fitted, judged = (half[: options.pictures] for half in pictures)
    for name in options.of.split(","):
        network, info = load(name)
        encoded, others = (encode_pictures(network, half, COPIES | EDITS, options.edited) for half in (fitted, judged))
        found = calibrate_on(fitted, encoded)
        print(f"{name}\n\n" + "\n".join(table(found, judged, others)))
        print(f"\n{found}\n", flush=True)
        if options.write:
            write_info(replace(info, similarity=found), find_checkpoint(name))


def calibrate_on(pictures: Sequence[Picture], encoded: Encoded) -> Similarity:
    """Calibrate on pictures: copies of all kinds, pairs of one label and colour, and pairs of different kinds."""
    sorts = sorts_of_pairs(pictures)
    found = calibrate(
        encoded.codes,
        encoded.features,
        copies=np.concatenate([encoded.edits[name] for name in COPIES]),
        near=np.concatenate([encoded.edits[name] for name in ("crop", "flip")]),
        alike=sorts["same label and colour, shop"],
        others=np.concatenate([sorts["other kind, shop"], sorts["other class, clothing"]]),
        pairs="label and look",
    )
    if found is None:
        raise SystemExit("The pictures do not differ.")
    return found


def sorts_of_pairs(pictures: Sequence[Picture]) -> dict[str, Rows]:
    """Draw pairs of rows `(n, 2)` of each sort."""
    rng = np.random.default_rng(0)
    kinds, looks, sets = (_numbers(pictures, name) for name in ("kind", "look", "data_set"))
    shop = np.array([picture.data_set == "shop" for picture in pictures])
    within_kind, between = pairs_within(kinds, rng), pairs_between(kinds, rng)
    between = between[sets[between[:, 0]] == sets[between[:, 1]]]
    same_look = pairs_within(looks, rng)
    other_look = within_kind[looks[within_kind[:, 0]] != looks[within_kind[:, 1]]]
    return {
        "same label and colour, shop": same_look[shop[same_look[:, 0]]],
        "same kind, other label or colour, shop": other_look[shop[other_look[:, 0]]],
        "other kind, shop": between[shop[between[:, 0]]],
        "same class, clothing": within_kind[~shop[within_kind[:, 0]]],
        "other class, clothing": between[~shop[between[:, 0]]],
    }


def table(similarity: Similarity, pictures: Sequence[Picture], encoded: Encoded) -> list[str]:
    """Return the lines of a Markdown table: the share of pairs of each sort in each band and of those codes agree on.

    The last columns are the shares within the distances of copies and of near-duplicates.
    """
    sorts = {f"copy: {name}": encoded.edits[name] for name in COPIES}
    sorts |= {f"edit: {name}": encoded.edits[name] for name in EDITS}
    sorts |= sorts_of_pairs(pictures)
    names = [band.name for band in BANDS]
    head = ["pairs", f"{COPY} or more", *names, "codes agree", "copies", "near"]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' --- |' * (len(head) - 1)}"]
    for sort, pairs in sorts.items():
        distances = encoded.distances(pairs)
        values = np.array([similarity.features(float(distance)) for distance in distances])
        bits = np.bitwise_count(encoded.codes[pairs[:, 0]] ^ encoded.codes[pairs[:, 1]]).sum(axis=1)
        by_code = np.array([similarity.codes(float(distance)) for distance in bits])
        bands = [_band(values) == at for at in range(len(BANDS))]
        shares = [np.mean(values >= COPY), *(np.mean(band) for band in bands), np.mean(_band(values) == _band(by_code))]
        shares += [np.mean(distances <= limit) for limit in (similarity.copies, similarity.near)]
        lines.append(f"| {sort} | {' | '.join(f'{100 * share:.1f}%' for share in shares)} |")
    return lines


def _band(similarities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the positions of similarities' bands in `BANDS`."""
    minimums = np.array([band.minimum for band in reversed(BANDS)])
    return len(BANDS) - np.searchsorted(minimums, similarities, side="right")


def _numbers(pictures: Sequence[Picture], attribute: str) -> NDArray[np.int64]:
    """Number the values of an attribute; pictures of two data sets, or without a value, share no number."""
    values = [f"{picture.data_set}: {getattr(picture, attribute) or picture.path}" for picture in pictures]
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


if __name__ == "__main__":
    main()
