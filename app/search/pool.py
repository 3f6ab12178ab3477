"""The pool of a query, where many pictures have its very code."""

from app.search.index import Code, Index
from app.search.types import Candidates, Subset

# At most so many pictures of one code: their F7 is read in some ten milliseconds.
SAME = 10_000


def pool_of(
    index: Index, code: Code, limit: int | None, radius: int | None = None, among: Subset | None = None
) -> Candidates:
    """Returns the nearest candidates; where all of them have the query's own code, every picture that has it.

    Ties at the edge of a pool are broken by id. Among pictures of the query's own code that would leave out the newer
    ones whatever they look like, copies of the query and the query itself among them.
    """
    candidates = index.candidates(code, limit, radius, among)
    if limit is None or limit >= SAME or len(candidates) < limit or candidates.hamming[-1] > 0:
        return candidates
    return index.candidates(code, SAME, 0, among)
