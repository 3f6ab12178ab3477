"""Recommend a pool size: the smallest that keeps precision if labels taught the codes, and else recall."""

from collections.abc import Sequence
from dataclasses import dataclass

# Minimum recall of the exact nearest neighbours after both steps, for codes that no labels taught.
MIN_RECALL = 0.99
# A difference in precision up to this is ignored.
PRECISION_MARGIN = 0.005
# With fewer labelled queries precision is too noisy.
MIN_LABELLED_QUERIES = 50


@dataclass(frozen=True)
class PoolResult:
    """Measured quality and time of searches with one pool size; `precision` is None without labels."""

    pool: int
    recall: float
    precision: float | None
    milliseconds: float


@dataclass(frozen=True)
class Advice:
    """A recommended pool size and the reason."""

    pool: int
    why: str


def recommend_pool(results: Sequence[PoolResult], in_use: int, labelled_queries: int, others: int) -> Advice:
    """Recommend one of the measured pool sizes.

    Args:
        results: by ascending pool size.
        in_use: the current pool size.
        labelled_queries: number of queries with a label that the codes were taught; 0 if they were not.
        others: number of images other than the query.
    """
    precisions = {result.pool: result.precision for result in results if result.precision is not None}
    if labelled_queries >= MIN_LABELLED_QUERIES and precisions:
        best = max(precisions.values())
        pool = min(size for size, value in precisions.items() if value >= best - PRECISION_MARGIN)
        found = precisions[pool]
        why = f"It is the smallest pool whose precision, {found:.3f}, is within {PRECISION_MARGIN} of the best."
    else:
        sufficient = [result for result in results if result.recall >= MIN_RECALL]
        chosen = sufficient[0] if sufficient else results[-1]
        pool = chosen.pool
        start = "the smallest pool with which" if sufficient else "the largest pool that was measured; with it"
        why = f"It is {start} both steps find {chosen.recall:.1%} of the exact nearest neighbours."
    if pool == in_use:
        return Advice(pool, f"{why} It is already in use.")
    if pool >= others:
        why += " It holds the whole catalogue, which is small enough for exact search."
    return Advice(pool, f"{why} Set LOOKALIKE_SEARCH_POOL={pool} and restart the service to use it.")
