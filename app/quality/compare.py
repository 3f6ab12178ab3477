"""Two networks on the same pictures: whether the new one finds more of a query's label than the one in use."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import PictureRefusedError
from app.search.decode.prepare import Preparer
from app.search.decode.retries import retried
from app.search.encode.batching import Encoder
from models.evaluation.metrics import precision_at, rank_by_hamming, rerank, squared_distances
from models.network.codes import Codes, Floats

K = 10
# A difference of fewer standard errors may be chance.
_ERRORS = 2.0
_AT_A_TIME = 64


@dataclass(frozen=True)
class Side:
    """What one network makes of pictures: codes `(n, bits / 8)`, F7 `(n, d)`; and the candidates that it wants."""

    codes: Codes
    features: Floats
    pool: int

    def take(self, rows: NDArray[np.int64]) -> "Side":
        """Returns some of the pictures."""
        return Side(self.codes[rows], self.features[rows], self.pool)


@dataclass(frozen=True)
class Verdict:
    """Mean precision@10 of both steps, of the network in use and of the new one, over `queries` held-out pictures.

    `error` is the standard error of the difference, query by query.
    """

    before: float
    after: float
    error: float
    queries: int

    @property
    def better(self) -> bool:
        """Whether the new network is, beyond what chance may make."""
        return self.after - self.before > _ERRORS * self.error

    def __str__(self) -> str:
        points = f"{100 * abs(self.after - self.before):.1f} points (± {100 * self.error:.1f})"
        worse = self.before - self.after > _ERRORS * self.error
        word = "is better by" if self.better else "is worse by" if worse else "makes no clear difference, only"
        return (
            f"The new network {word} {points}. Of {K} results, {self.after:.1%} have the query's label; with the "
            f"network in use, {self.before:.1%}. {self.queries:,} pictures asked that it did not learn from."
        )


def compare(before: Side, after: Side, labels: NDArray[np.int64], asking: NDArray[np.bool_]) -> Verdict:
    """Has the pictures that are `asking` `(n,)` search among the others, with both networks."""
    queries, database = np.flatnonzero(asking), np.flatnonzero(~asking)
    found = [_precisions(side.take(queries), side.take(database), labels, asking) for side in (before, after)]
    difference = found[1] - found[0]
    error = float(difference.std(ddof=1) / np.sqrt(len(queries))) if len(queries) > 1 else float("inf")
    return Verdict(float(found[0].mean()), float(found[1].mean()), error, len(queries))


def encode(
    hashes: Sequence[str],
    read: Callable[[str], bytes],
    prepare: Preparer,
    encoder: Encoder,
    pool: int,
    report: Callable[[int, int], None],
) -> tuple[Side, NDArray[np.int64]]:
    """Encodes originals as the service would; returns what came of them, and which of them `read` could give."""

    def prepared(sha256: str) -> Image.Image | None:
        try:
            return prepare(read(sha256)).image
        except (OSError, PictureRefusedError):
            return None

    def decoded(cores: Executor, some: Sequence[str]) -> list[Image.Image | None]:
        return list(cores.map(prepared, some))

    codes, features, kept = list[Codes](), list[Floats](), list[int]()
    with ThreadPoolExecutor(os.cpu_count()) as cores:
        for first in range(0, len(hashes), _AT_A_TIME):
            images = retried(partial(decoded, cores, hashes[first : first + _AT_A_TIME]))
            if good := [image for image in images if image is not None]:
                made = encoder.encode_many(good)
                codes.append(made.codes)
                features.append(made.features)
            kept += [first + at for at, image in enumerate(images) if image is not None]
            report(min(first + _AT_A_TIME, len(hashes)), len(hashes))
    return Side(np.concatenate(codes), np.concatenate(features), pool), np.array(kept, np.int64)


def _precisions(queries: Side, database: Side, labels: NDArray[np.int64], asking: NDArray[np.bool_]) -> Floats:
    asked, there = labels[asking], labels[~asking]
    near = squared_distances(queries.features, database.features)
    return np.array(
        [
            precision_at(there[rerank(rank_by_hamming(code, database.codes), far, queries.pool)] == label, K)
            for code, label, far in zip(queries.codes, asked, near, strict=True)
        ],
        np.float32,
    )
