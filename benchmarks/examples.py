"""Precision of searches with several examples, and how well an image to avoid is avoided.

    python -m benchmarks.examples SHOP CLOTHING --of general-small,general-large --cache FOLDER

`SHOP` and `CLOTHING` are the folders of `benchmarks/similarity/pictures.py`; of the clothes only the split `test` is
used. Queries are random images of the data set; the examples of a search are left out of its results.

P@10 is measured with one and with three examples of a label. Then, for each query with another label among the first
ten, the first such image is added as the image to avoid, with several fractions of Rocchio's formula.
"""

import argparse
import csv
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.observability.hooks import ObserverGroup, Operation
from app.search.examples import make_examples
from app.search.local.index import LocalIndex
from app.search.ranking import Query, rank
from app.search.rocchio import UNLIKE_FRACTION, combine, shares_of
from app.search.types import Encodings, IndexEntries, Mode, SearchOptions
from benchmarks.similarity.encoded import encode_pictures
from benchmarks.similarity.pictures import Picture, read_clothing
from models.checkpoint.files import load
from models.checkpoint.info import CheckpointInfo, find_checkpoint, read_info

K, LIKES, SEED = 10, 3, 0
FRACTIONS = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75, 1.0)


@dataclass(frozen=True)
class Catalogue:
    """An index of a data set; image i has id i + 1 and `labels[i]`."""

    index: LocalIndex
    encoded: Encodings
    labels: NDArray[np.str_]
    info: CheckpointInfo

    def search(
        self, mode: Mode, likes: Sequence[int], unlikes: Sequence[int] = (), fraction: float = UNLIKE_FRACTION
    ) -> list[int]:
        """Return the rows of the first `K` images besides the examples, as the service ranks them."""
        rows = [*likes, *unlikes]
        shares = shares_of(make_examples({"like": likes, "unlike": unlikes}, {}), fraction)
        examples = Encodings(self.encoded.codes[rows], self.encoded.features[rows])
        query = combine(examples, shares, self.index, None, self.info.feature_norm)
        options = SearchOptions(k=K + len(rows), mode=mode)
        found = rank(Query(self.index, None, query, options, self.info.pool, None), options.k, _unobserved())
        return [match.id - 1 for match in found.matches if match.id - 1 not in rows][:K]


def _unobserved() -> Operation:
    return Operation("search", ObserverGroup())


def main() -> None:
    """Print the tables of each network and data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("shop", type=Path)
    parser.add_argument("clothing", type=Path)
    parser.add_argument("--of", default="general-small", help="networks, separated by commas")
    parser.add_argument("--cache", type=Path, help="folder to keep F7 and codes in")
    parser.add_argument("--queries", type=int, default=1000)
    options = parser.parse_args()
    clothes = [picture for picture in read_clothing(options.clothing) if picture.path.parts[-3] == "test"]
    for name in options.of.split(","):
        for data_set, pictures in (("shop", read_labelled_shop(options.shop)), ("clothing", clothes)):
            info, encoded = cached(name, data_set, pictures, options.cache)
            labels = np.array([picture.kind for picture in pictures])
            with TemporaryDirectory() as folder, closing(VectorFile(Path(folder) / "f7", info.feature_dim)) as vectors:
                index, rows = LocalIndex(info.bits, vectors), np.arange(len(pictures))
                checksums = vectors.write(rows, encoded.features)
                index.add(IndexEntries(rows + 1, encoded.codes, rows, checksums))
                print(f"\n{name}, {data_set}: {len(rows):,} images of {len(set(labels))} labels\n")
                report(Catalogue(index, encoded, labels, info), options.queries)


def report(catalogue: Catalogue, queries: int) -> None:
    """Print the tables of one network and data set."""
    draws = draw(catalogue.labels, queries)
    print("| mode | P@10, one example | three examples |")
    for mode in Mode:
        one, three = (
            np.mean([precision(catalogue, mode, examples[:count]) for examples in draws]) for count in (1, LIKES)
        )
        print(f"| `{mode.value}` | {one:.3f} | {three:.3f} |")
    print("\n| fraction | label of the image to avoid, of the first ten | P@10 |")
    wrong = [
        (examples[0], avoided) for examples in draws if (avoided := first_wrong(catalogue, examples[0])) is not None
    ]
    for fraction in FRACTIONS:
        found = [catalogue.search(Mode.HDS, [like], [avoided], fraction) for like, avoided in wrong]
        shares = [
            (catalogue.labels[rows] == catalogue.labels[list(pair)][:, None]).mean(axis=1)
            for rows, pair in zip(found, wrong, strict=True)
        ]
        right, avoided_share = np.mean(shares, axis=0)
        print(f"| {fraction} | {avoided_share:.3f} | {right:.3f} |")
    print(f"\n{len(wrong)} of {len(draws)} queries have an image of another label among the first ten.")


def draw(labels: NDArray[np.str_], queries: int) -> list[list[int]]:
    """Draw `LIKES` rows of one label for each query, from labels with enough further images for `K` results."""
    rng = np.random.default_rng(SEED)
    names, counts = np.unique(labels, return_counts=True)
    eligible = np.flatnonzero(np.isin(labels, names[counts >= K + LIKES]))
    firsts = rng.choice(eligible, min(queries, len(eligible)), replace=False)
    return [[int(first), *rng.choice(_others(labels, first), LIKES - 1, replace=False).tolist()] for first in firsts]


def _others(labels: NDArray[np.str_], row: int) -> NDArray[np.int64]:
    others: NDArray[np.int64] = np.flatnonzero((labels == labels[row]) & (np.arange(len(labels)) != row))
    return others


def precision(catalogue: Catalogue, mode: Mode, likes: Sequence[int]) -> float:
    """Share of the first `K` images that have the label of the examples."""
    return float((catalogue.labels[catalogue.search(mode, likes)] == catalogue.labels[likes[0]]).mean())


def first_wrong(catalogue: Catalogue, like: int) -> int | None:
    """Return the first of the first `K` images that has another label; None if there is none."""
    found = catalogue.search(Mode.HDS, [like])
    return next((row for row in found if catalogue.labels[row] != catalogue.labels[like]), None)


def read_labelled_shop(folder: Path) -> list[Picture]:
    """List a shop's pictures; their kind is the label."""
    with (folder / "products.csv").open(newline="") as table:
        return [Picture(folder / row["file"], "shop", row["label"], "") for row in csv.DictReader(table)]


def cached(
    name: str, data_set: str, pictures: Sequence[Picture], folder: Path | None
) -> tuple[CheckpointInfo, Encodings]:
    """Encode pictures with a network, or read what an earlier run has written."""
    info = read_info(find_checkpoint(name))
    path = None if folder is None else folder / f"{data_set}-{info.fingerprint}-{len(pictures)}.npz"
    if path is not None and path.is_file():
        with np.load(path) as arrays:
            return info, Encodings(arrays["codes"], arrays["features"])
    encoded = encode_pictures(load(name)[0], pictures, {}, 0)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, codes=encoded.codes, features=encoded.features)
    return info, Encodings(encoded.codes, encoded.features)


if __name__ == "__main__":
    main()
