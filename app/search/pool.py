"""Select candidates by code, and the pool that the fine step ranks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from app.search.index import Code, Index
from app.search.local.fine import smallest_k
from app.search.types import Candidates, Subset
from models.network.codes import hamming
from models.network.latent_layer import asymmetric_distances

Projections = NDArray[np.float64]

# Most images with one code that are ranked; reading their F7 takes about ten milliseconds.
MAX_EQUAL_CODES = 10_000
# Asymmetric order selects the candidates among ten times as many by Hamming distance, within these bounds.
SHORTLIST_FACTOR, MIN_SHORTLIST, MAX_SHORTLIST = 10, 2_000, 20_000


def nearest_by_code(
    index: Index,
    code: Code,
    limit: int | None,
    radius: int | None = None,
    among: Subset | None = None,
    projections: Projections | None = None,
) -> Candidates:
    """Nearest candidates by code: by (Hamming distance, id), or given projections, in asymmetric order.

    Asymmetric order is (asymmetric distance, Hamming distance, id). It selects `limit` of the `shortlist_size` nearest
    by Hamming distance.

    Args:
        index: index to search.
        code: the query's code, `(bits / 8,)`.
        limit: maximum number of candidates; None for all.
        radius: maximum Hamming distance; None for no limit.
        among: subset to search; None for all images.
        projections: the query's W F7 + b, `(bits,)`; None for Hamming order.
    """
    if projections is None:
        return index.candidates(code, limit, radius, among)
    shortlist = index.candidates(code, shortlist_size(limit), radius, among)
    codes = index.codes(shortlist.ids) if shortlist.codes is None else shortlist.codes
    distances = asymmetric_distances(projections, code, codes)
    # Ties by position, because the shortlist is in Hamming order.
    positions = np.arange(len(shortlist))
    return shortlist.take(smallest_k(distances, positions, len(shortlist) if limit is None else limit))


def shortlist_size(limit: int | None) -> int | None:
    """Number of candidates by Hamming distance, of which asymmetric order keeps `limit`; None for all.

    Beyond `MAX_SHORTLIST` there are no more than `limit`.
    """
    if limit is None:
        return None
    return max(limit, MIN_SHORTLIST, min(SHORTLIST_FACTOR * limit, MAX_SHORTLIST))


def select_pool(
    index: Index,
    code: Code,
    limit: int | None,
    radius: int | None = None,
    among: Subset | None = None,
    projections: Projections | None = None,
) -> Candidates:
    """Nearest candidates by code; if all of them have the query's code, all images with that code, up to a limit.

    Ties at the edge of a pool are broken by id. If more images have the query's code than the pool holds, this would
    leave out the newest regardless of their F7, possibly including copies of the query and the query itself. Equal
    codes are first in both orders. For the arguments see `nearest_by_code`.
    """
    candidates = nearest_by_code(index, code, limit, radius, among, projections)
    if limit is None or limit >= MAX_EQUAL_CODES or len(candidates) < limit or candidates.hamming[-1] > 0:
        return candidates
    return index.candidates(code, MAX_EQUAL_CODES, 0, among)


def join_pools(index: Index, code: Code, pools: Sequence[Candidates], projections: Projections | None) -> Candidates:
    """Join pools into one, in the order of a query's code.

    Args:
        index: index of the candidates.
        code: the query's code, `(bits / 8,)`.
        pools: pools of any queries, at least one.
        projections: the query's W F7 + b, `(bits,)`, for asymmetric order; None for Hamming order.
    """
    ids, rows = np.unique(np.concatenate([pool.ids for pool in pools]), return_index=True)
    every = _concatenated(pools).take(rows)
    codes = index.codes(ids)
    joined = replace(every, hamming=hamming(code, codes), codes=codes)
    distances = joined.hamming if projections is None else asymmetric_distances(projections, code, codes)
    return joined.take(np.lexsort((ids, joined.hamming, distances)))


def extend_pool(pool: Candidates, candidates: Candidates) -> Candidates:
    """Append the candidates that a pool lacks, in their order."""
    return _concatenated([pool, candidates.take(np.flatnonzero(~np.isin(candidates.ids, pool.ids)))])


def _concatenated(parts: Sequence[Candidates]) -> Candidates:
    """Concatenate candidates, without their codes."""
    return Candidates(
        ids=np.concatenate([part.ids for part in parts]),
        hamming=np.concatenate([part.hamming for part in parts]),
        slots=np.concatenate([part.slots for part in parts]),
        checksums=np.concatenate([part.checksums for part in parts]),
    )
