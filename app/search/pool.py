"""Select the candidates that the fine step ranks."""

from app.search.index import Code, Index
from app.search.types import Candidates, Subset

# Most images with one code that are ranked; reading their F7 takes about ten milliseconds.
MAX_EQUAL_CODES = 10_000


def select_pool(
    index: Index, code: Code, limit: int | None, radius: int | None = None, among: Subset | None = None
) -> Candidates:
    """Nearest candidates by code; if all of them have the query's code, all images with that code, up to a limit.

    Ties at the edge of a pool are broken by id. If more images have the query's code than the pool holds, this would
    leave out the newest regardless of their F7, possibly including copies of the query and the query itself.
    """
    candidates = index.candidates(code, limit, radius, among)
    if limit is None or limit >= MAX_EQUAL_CODES or len(candidates) < limit or candidates.hamming[-1] > 0:
        return candidates
    return index.candidates(code, MAX_EQUAL_CODES, 0, among)
