"""Compare two models on the same images by precision@10 of both search steps."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import ImageRejectedError
from app.search.decode.prepare import ImagePreparer
from app.search.decode.retries import retry_while_unavailable
from app.search.encode.batching import Encoder
from models.evaluation.metrics import precision_at, rank_by_hamming, rerank, squared_distances
from models.network.codes import Codes, Floats

K = 10
# A difference of fewer standard errors is not significant.
_MIN_STANDARD_ERRORS = 2.0
_BATCH_SIZE = 64


@dataclass(frozen=True)
class ModelEncodings:
    """One model's encodings of images: codes `(n, bits / 8)`, F7 `(n, d)`; and its pool size."""

    codes: Codes
    features: Floats
    pool: int

    def take(self, rows: NDArray[np.int64]) -> "ModelEncodings":
        """Return the encodings of some rows."""
        return ModelEncodings(self.codes[rows], self.features[rows], self.pool)


@dataclass(frozen=True)
class Verdict:
    """Mean precision@10 of both steps with the model in use and with the new one, over `queries` held-out images.

    `error` is the standard error of the paired difference.
    """

    before: float
    after: float
    error: float
    queries: int

    @property
    def better(self) -> bool:
        """Whether the new model is significantly better."""
        return self.after - self.before > _MIN_STANDARD_ERRORS * self.error

    def __str__(self) -> str:
        points = f"{100 * abs(self.after - self.before):.1f} points (± {100 * self.error:.1f})"
        worse = self.before - self.after > _MIN_STANDARD_ERRORS * self.error
        comparison = "is better by" if self.better else "is worse by" if worse else "makes no clear difference, only"
        return (
            f"The new model {comparison} {points}. Of {K} results, {self.after:.1%} have the query's label; with the "
            f"model in use, {self.before:.1%}. {self.queries:,} images that it was not trained on were used as queries."
        )


def compare(
    before: ModelEncodings, after: ModelEncodings, labels: NDArray[np.int64], is_query: NDArray[np.bool_]
) -> Verdict:
    """Search with the images marked in `is_query` `(n,)` among the others, with both models, and compare."""
    queries, database = np.flatnonzero(is_query), np.flatnonzero(~is_query)
    old, new = (_precisions(one.take(queries), one.take(database), labels, is_query) for one in (before, after))
    difference = new - old
    error = float(difference.std(ddof=1) / np.sqrt(len(queries))) if len(queries) > 1 else float("inf")
    return Verdict(float(old.mean()), float(new.mean()), error, len(queries))


def encode(
    hashes: Sequence[str],
    read: Callable[[str], bytes],
    prepare: ImagePreparer,
    encoder: Encoder,
    pool: int,
    report: Callable[[int, int], None],
) -> tuple[ModelEncodings, NDArray[np.int64]]:
    """Encode originals as the service does; returns their encodings and the indices of the readable ones."""

    def decode(sha256: str) -> Image.Image | None:
        try:
            return prepare(read(sha256)).image
        except (OSError, ImageRejectedError):
            return None

    def decode_batch(threads: Executor, batch: Sequence[str]) -> list[Image.Image | None]:
        return list(threads.map(decode, batch))

    codes, features, readable = list[Codes](), list[Floats](), list[int]()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for first in range(0, len(hashes), _BATCH_SIZE):
            images = retry_while_unavailable(partial(decode_batch, threads, hashes[first : first + _BATCH_SIZE]))
            if valid := [image for image in images if image is not None]:
                encoded = encoder.encode_many(valid)
                codes.append(encoded.codes)
                features.append(encoded.features)
            readable += [first + at for at, image in enumerate(images) if image is not None]
            report(min(first + _BATCH_SIZE, len(hashes)), len(hashes))
    return ModelEncodings(np.concatenate(codes), np.concatenate(features), pool), np.array(readable, np.int64)


def _precisions(
    queries: ModelEncodings, database: ModelEncodings, labels: NDArray[np.int64], is_query: NDArray[np.bool_]
) -> Floats:
    query_labels, database_labels = labels[is_query], labels[~is_query]
    distances = squared_distances(queries.features, database.features)
    return np.array(
        [
            precision_at(database_labels[rerank(rank_by_hamming(code, database.codes), row, queries.pool)] == label, K)
            for code, label, row in zip(queries.codes, query_labels, distances, strict=True)
        ],
        np.float32,
    )
