"""Each method at each number of bits: how well its codes search, and what learning them costs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.checkpoint import distance_histograms as counted
from models.comparison.baselines.kinds import KINDS, Kind
from models.comparison.baselines.method import Labels, MethodError, evenly
from models.comparison.cost import measured
from models.comparison.data import Side
from models.comparison.unfinished import Unfinished
from models.evaluation.search import KS, RADIUS
from models.network.codes import Codes

# How many pictures training is timed with; pair-based methods go no further once they took so many seconds.
SIZES, ENOUGH_SECONDS = (500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000), 30.0

Relevant = Sequence[NDArray[np.int64]]
# What goes wrong inside a method is told beside the others' results, which it must not cost.
FAILURES = (MethodError, MemoryError, np.linalg.LinAlgError)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turns what torch says of a lack of memory, a RuntimeError, into a MemoryError as numpy raises it."""
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
        self, database: Side, queries: Side, relevant: Relevant, unfinished: Unfinished, *, labelled: bool, seed: int
    ) -> None:
        self.database, self.queries, self.relevant, self.seed = database, queries, relevant, seed
        self.labels, self.unfinished = database.labels if labelled else None, unfinished

    def method(self, name: str, bits: Sequence[int], told: Callable[[int], None]) -> dict[str, Any]:
        """Measures a method at each number of bits; `told` hears before each."""
        kind = KINDS[name]
        pictures = len(self.database.labels)
        found: dict[str, Any] = {
            "title": kind.title,
            "learns": kind.learns,
            "pictures": pictures if kind.most is None else min(kind.most, pictures),
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
    def _measure(self, kind: Kind, bits: int) -> dict[str, Any]:
        method = kind.make(bits, self.seed)
        with measured() as learning:
            method.fit(self.database.features, self.labels)
        learnt = time.perf_counter()
        database, queries = (method.codes(side.features) for side in (self.database, self.queries))
        coding = time.perf_counter() - learnt
        costs = {"seconds": learning.seconds, "memory": learning.memory, "coding_seconds": coding}
        return self.scores(database, queries, bits) | costs

    def scores(self, database: Codes, queries: Codes, bits: int) -> dict[str, Any]:
        """Measures codes `(n, bytes)` of both sides."""
        found = counted.count(queries, database, self.relevant, bits)
        ks = [k for k in KS if k <= len(database)]
        precision = counted.precision_at(found, ks).mean(axis=0)
        return {
            "map": float(counted.average_precision(found).mean()),
            "precision": {str(k): float(value) for k, value in zip(ks, precision, strict=True)},
            "precision_radius_2": float(counted.precision_within(found, RADIUS).mean()),
            "precision_by_recall": counted.precision_by_recall(found).tolist(),
        }

    def growth(self, name: str, bits: int, told: Callable[[int], None]) -> list[dict[str, Any]]:
        """Times learning from more and more pictures; pair-based methods then look at all pairs of those."""
        kind = KINDS[name]
        if self.labels is None:
            return []
        found: list[dict[str, Any]] = []
        for size in sizes(len(self.labels)):
            # What learns from all pictures anyway did so when it was measured.
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
            if kind.most is not None and found[-1]["seconds"] > ENOUGH_SECONDS:
                break
        return found

    @memory_errors()
    def _timed(self, kind: Kind, bits: int, pictures: int, labels: Labels) -> dict[str, Any]:
        method = kind.make(bits, self.seed) if kind.most is None else kind.make(bits, self.seed, pictures)
        chosen = evenly(labels, pictures, self.seed)
        features, told = self.database.features[chosen], labels[chosen]
        with measured() as cost:
            method.fit(features, told)
        return {"pictures": pictures, "seconds": cost.seconds, "memory": cost.memory}


def sizes(pictures: int) -> list[int]:
    """Returns how many pictures to learn from, up to all that there are."""
    return [size for size in SIZES if size < pictures] + [pictures]
