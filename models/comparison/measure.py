"""Measure each method at each code length: retrieval quality, and the cost of fitting."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.comparison.baselines.method import Labels, MethodError, stratified_sample
from models.comparison.baselines.registry import METHODS, MethodInfo
from models.comparison.cost import measure_cost
from models.comparison.data import EncodedSplit
from models.comparison.resume_file import ResumeFile
from models.evaluation import distance_histograms as histograms
from models.evaluation.search import KS, RADIUS
from models.network.codes import Codes

# Numbers of images for timing, and the time after which pair-based methods stop growing.
SIZES, MAX_SECONDS = (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000), 30.0

Relevant = Sequence[NDArray[np.int64]]
# Failures of one method that are reported with the results, and do not stop the comparison.
FAILURES = (MethodError, MemoryError, np.linalg.LinAlgError)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Convert torch's RuntimeError for lack of memory into a MemoryError, as NumPy raises."""
    try:
        yield
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise MemoryError from error


class Comparison:
    """Data that all methods are measured on.

    Args:
        database: encodings to fit on and to search.
        queries: encodings to search with.
        relevant: positions of each query's relevant images.
        labelled: whether methods may use the database's labels.
        seed: random seed.
        unfinished: measurements of an interrupted comparison.
    """

    def __init__(
        self,
        database: EncodedSplit,
        queries: EncodedSplit,
        relevant: Relevant,
        unfinished: ResumeFile,
        *,
        labelled: bool,
        seed: int,
    ) -> None:
        self.database, self.queries, self.relevant, self.seed = database, queries, relevant, seed
        self.labels, self.unfinished = database.labels if labelled else None, unfinished

    def method(self, name: str, bits: Sequence[int], progress: Callable[[int], None]) -> dict[str, Any]:
        """Measure a method at each code length; `progress` is called before each."""
        kind = METHODS[name]
        images = len(self.database.labels)
        found: dict[str, Any] = {
            "title": kind.title,
            "learns": kind.learns,
            "pictures": images if kind.most is None else min(kind.most, images),
            "bits": {},
            "refused": {},
        }
        for count in bits:
            progress(count)
            try:
                found["bits"][str(count)] = self.unfinished.measure(
                    f"{name}, {count} bits", partial(self._measure, kind, count)
                )
            except FAILURES as error:
                found["refused"][str(count)] = str(error) or "Out of memory."
        return found

    @memory_errors()
    def _measure(self, kind: MethodInfo, bits: int) -> dict[str, Any]:
        method = kind.make(bits, self.seed)
        with measure_cost() as learning:
            method.fit(self.database.features, self.labels)
        coding_started = time.perf_counter()
        database, queries = (method.codes(side.features) for side in (self.database, self.queries))
        coding = time.perf_counter() - coding_started
        costs = {"seconds": learning.seconds, "memory": learning.memory, "coding_seconds": coding}
        return self.scores(database, queries, bits) | costs

    def scores(self, database: Codes, queries: Codes, bits: int) -> dict[str, Any]:
        """Measure codes `(n, bytes)` of database and queries."""
        found = histograms.count(queries, database, self.relevant, bits)
        ks = [k for k in KS if k <= len(database)]
        precision = histograms.precision_at(found, ks).mean(axis=0)
        return {
            "map": float(histograms.average_precision(found).mean()),
            "precision": {str(k): float(value) for k, value in zip(ks, precision, strict=True)},
            "precision_radius_2": float(histograms.precision_within(found, RADIUS).mean()),
            "precision_by_recall": histograms.precision_by_recall(found).tolist(),
        }

    def growth(self, name: str, bits: int, progress: Callable[[int], None]) -> list[dict[str, Any]]:
        """Time fitting on growing numbers of images; pair-based methods then use all pairs of those."""
        kind = METHODS[name]
        if self.labels is None:
            return []
        found: list[dict[str, Any]] = []
        for size in sizes(len(self.labels)):
            # A method without a limit was already timed on all images.
            full_size = kind.most is None and size == len(self.labels)
            if full_size and (known := self.unfinished.measured.get(f"{name}, {bits} bits")):
                found.append({"pictures": size, "seconds": known["seconds"], "memory": known["memory"]})
                break
            progress(size)
            timed = partial(self._timed, kind, bits, size, self.labels)
            try:
                found.append(self.unfinished.measure(f"{name}, {bits} bits, {size} pictures", timed))
            except FAILURES:
                break
            if kind.most is not None and found[-1]["seconds"] > MAX_SECONDS:
                break
        return found

    @memory_errors()
    def _timed(self, kind: MethodInfo, bits: int, images: int, labels: Labels) -> dict[str, Any]:
        method = kind.make(bits, self.seed) if kind.most is None else kind.make(bits, self.seed, images)
        chosen = stratified_sample(labels, images, self.seed)
        features, chosen_labels = self.database.features[chosen], labels[chosen]
        with measure_cost() as cost:
            method.fit(features, chosen_labels)
        return {"pictures": images, "seconds": cost.seconds, "memory": cost.memory}


def sizes(images: int) -> list[int]:
    """Return the numbers of images for timing, up to all."""
    return [size for size in SIZES if size < images] + [images]
