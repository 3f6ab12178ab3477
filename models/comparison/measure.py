"""Each method at each number of bits: how well its codes search, and what learning them costs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.comparison.baselines.kinds import KINDS, MethodInfo
from models.comparison.baselines.method import Labels, MethodError, stratified_sample
from models.comparison.cost import measure_cost
from models.comparison.data import EncodedSplit
from models.comparison.resume_file import ResumeFile
from models.evaluation import distance_histograms as histograms
from models.evaluation.search import KS, RADIUS
from models.network.codes import Codes

# How many images training is timed with; pair-based methods go no further once they took so many seconds.
SIZES, MAX_SECONDS = (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000), 30.0

Relevant = Sequence[NDArray[np.int64]]
# What goes wrong inside a method is told beside the others' results, which it must not cost.
FAILURES = (MethodError, MemoryError, np.linalg.LinAlgError)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn what torch says of a lack of memory, a RuntimeError, into a MemoryError as numpy raises it."""
    try:
        yield
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        raise MemoryError from error


class Comparison:
    """The data that all methods are measured on.

    Args:
        database: what is learnt from, and searched.
        queries: what asks.
        relevant: what each query should find.
        labelled: whether methods may see the database's labels.
        seed: where all randomness starts.
        unfinished: what was measured before a comparison was stopped.
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

    def method(self, name: str, bits: Sequence[int], told: Callable[[int], None]) -> dict[str, Any]:
        """Measure a method at each number of bits; `told` hears before each."""
        kind = KINDS[name]
        images = len(self.database.labels)
        found: dict[str, Any] = {
            "title": kind.title,
            "learns": kind.learns,
            "pictures": images if kind.most is None else min(kind.most, images),
            "bits": {},
            "refused": {},
        }
        for count in bits:
            told(count)
            try:
                found["bits"][str(count)] = self.unfinished.measure(
                    f"{name}, {count} bits", partial(self._measure, kind, count)
                )
            except FAILURES as error:
                found["refused"][str(count)] = str(error) or "There is not enough memory."
        return found

    @memory_errors()
    def _measure(self, kind: MethodInfo, bits: int) -> dict[str, Any]:
        method = kind.make(bits, self.seed)
        with measure_cost() as learning:
            method.fit(self.database.features, self.labels)
        learnt = time.perf_counter()
        database, queries = (method.codes(side.features) for side in (self.database, self.queries))
        coding = time.perf_counter() - learnt
        costs = {"seconds": learning.seconds, "memory": learning.memory, "coding_seconds": coding}
        return self.scores(database, queries, bits) | costs

    def scores(self, database: Codes, queries: Codes, bits: int) -> dict[str, Any]:
        """Measure codes `(n, bytes)` of both sides."""
        found = histograms.count(queries, database, self.relevant, bits)
        ks = [k for k in KS if k <= len(database)]
        precision = histograms.precision_at(found, ks).mean(axis=0)
        return {
            "map": float(histograms.average_precision(found).mean()),
            "precision": {str(k): float(value) for k, value in zip(ks, precision, strict=True)},
            "precision_radius_2": float(histograms.precision_within(found, RADIUS).mean()),
            "precision_by_recall": histograms.precision_by_recall(found).tolist(),
        }

    def growth(self, name: str, bits: int, told: Callable[[int], None]) -> list[dict[str, Any]]:
        """Time learning from more and more images; pair-based methods then look at all pairs of those."""
        kind = KINDS[name]
        if self.labels is None:
            return []
        found: list[dict[str, Any]] = []
        for size in sizes(len(self.labels)):
            # What learns from all images anyway did so when it was measured.
            all_of_them = kind.most is None and size == len(self.labels)
            if all_of_them and (known := self.unfinished.measured.get(f"{name}, {bits} bits")):
                found.append({"pictures": size, "seconds": known["seconds"], "memory": known["memory"]})
                break
            told(size)
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
        features, told = self.database.features[chosen], labels[chosen]
        with measure_cost() as cost:
            method.fit(features, told)
        return {"pictures": images, "seconds": cost.seconds, "memory": cost.memory}


def sizes(images: int) -> list[int]:
    """Return how many images to learn from, up to all that there are."""
    return [size for size in SIZES if size < images] + [images]
