"""Which pool suits a catalogue: the smallest one that loses nothing to speak of."""

from collections.abc import Sequence
from dataclasses import dataclass

# Of the exact nearest neighbours, how many both steps should find where there are no labels to go by.
ENOUGH_RECALL = 0.95
# Precision that is this much lower is as good.
MARGIN = 0.005
# Fewer queries with a label tell nothing.
ENOUGH_QUERIES = 50


@dataclass(frozen=True)
class Tried:
    """What searches find with one pool; `precision` is None where there are no labels."""

    pool: int
    recall: float
    precision: float | None
    milliseconds: float


@dataclass(frozen=True)
class Advice:
    """A pool, and why."""

    pool: int
    why: str


def advise(tried: Sequence[Tried], in_use: int, labelled_queries: int, others: int) -> Advice:
    """Recommends one of the pools that were tried, smaller ones first."""
    precisions = {one.pool: one.precision for one in tried if one.precision is not None}
    if labelled_queries >= ENOUGH_QUERIES and precisions:
        best = max(precisions.values())
        pool = min(size for size, value in precisions.items() if value >= best - MARGIN)
        why = f"It is the smallest pool whose precision, {precisions[pool]:.3f}, is within {MARGIN} of the best."
    else:
        enough = [one for one in tried if one.recall >= ENOUGH_RECALL]
        chosen = enough[0] if enough else tried[-1]
        pool = chosen.pool
        smallest = "the smallest pool with which" if enough else "the largest pool that was tried; with it"
        why = f"It is {smallest} both steps find {chosen.recall:.1%} of the exact nearest neighbours."
    if pool == in_use:
        return Advice(pool, f"{why} It is the one in use.")
    if pool >= others:
        why += " It holds the whole catalogue, which is small enough to be searched exactly."
    return Advice(pool, f"{why} Set LOOKALIKE_SEARCH_POOL={pool} and start the service again to use it.")
