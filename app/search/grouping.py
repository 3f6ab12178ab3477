"""Rank images for a query, one match for each group.

Images are read in the order of the mode, by F7 for `es` and by code for `bcs`, until they belong to k groups; the best
of each group is its first. For `hds` the pool grows: if it has fewer than k groups, the next candidates by code that
belong to other groups join it until it has k, and F7 ranks them all. So one large group near the query cannot fill it.

Few images are read first, then ten times as many, up to `MAX_GROUPED`. With asymmetric order, each reading of n
candidates returns what a search without groups would for n (`nearest_by_code`), and the pool is the first of them.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.observability.hooks import Operation
from app.search.ranking import Query, Ranking, coarse, fine, rank, ranked
from app.search.types import Candidates, Ids, Match, Mode

# Most images that are read to find k groups, unless the pool is larger: their groups are read from the database.
MAX_GROUPED = 100_000
_GROWTH = 10

Positions = NDArray[np.int64]
# Returns for each image the position of the first image of its group; -1 for deleted images.
FirstOfGroup = Callable[[Ids], Positions]


class _Images(Protocol):
    """Images in an order."""

    @property
    def ids(self) -> Ids: ...


ImagesT = TypeVar("ImagesT", bound=_Images)


def rank_groups(query: Query, first_of_group: FirstOfGroup, work: Operation) -> Ranking:
    """Rank the best match of each group, at most k."""

    def grouped(ids: Ids) -> Positions:
        with work.stage("catalogue"):
            return first_of_group(ids)

    if query.options.mode is Mode.HDS:
        return _rank_grown_pool(query, grouped, work)
    k, limit = query.options.k, min(_GROWTH * query.options.k, MAX_GROUPED)
    ranking, firsts, limited = _read_groups(lambda most: rank(query, most, work), grouped, k, limit)
    best = _best_of_each(ranking, ranking.ids, firsts, k)
    return replace(ranking, matches=best, group_limit_reached=limited)


def _rank_grown_pool(query: Query, first_of_group: FirstOfGroup, work: Operation) -> Ranking:
    options = query.options
    with work.stage("coarse"):
        pool = coarse(query, options.k)
    # Without a limit, the pool has all candidates: one more than that cannot be read.
    size = options.pool_limit(query.default_pool) or len(pool) + 1

    def read(limit: int) -> Candidates:
        if limit == size:
            return pool
        with work.stage("coarse"):
            return query.grown_pool(pool, limit)

    candidates, firsts, limited = _read_groups(read, first_of_group, options.k, size)
    grown = candidates.take(_grown_pool(firsts, len(pool), options.k))
    with work.stage("fine"):
        ranking = ranked(query, candidates, fine(query, grown, len(grown)))
    best = _best_of_each(ranking, candidates.ids, firsts, options.k)
    return replace(ranking, matches=best, group_limit_reached=limited)


def _read_groups(
    read: Callable[[int], ImagesT], first_of_group: FirstOfGroup, k: int, limit: int
) -> tuple[ImagesT, Positions, bool]:
    """Read more and more images until they belong to k groups.

    Args:
        read: reads that many images, or all if there are fewer.
        first_of_group: finds their groups.
        k: number of groups.
        limit: number of images to read first.

    Returns:
        The images, the position of the first image of each one's group, and whether the limit ended the search.
    """
    while True:
        images = read(limit)
        firsts = first_of_group(images.ids)
        if len(firsts) < limit or len(_leaders(firsts)) >= k:
            return images, firsts, False
        if len(firsts) >= MAX_GROUPED:
            return images, firsts, True
        limit = min(_GROWTH * len(firsts), MAX_GROUPED)


def _leaders(firsts: Positions) -> Positions:
    """Positions of the images that are the first of their group."""
    return np.flatnonzero(firsts == np.arange(len(firsts)))


def _grown_pool(firsts: Positions, size: int, k: int) -> Positions:
    """Positions of a pool of the first `size` candidates, and of those of other groups up to the first of the k-th."""
    positions, leaders = np.arange(len(firsts)), _leaders(firsts)
    last = leaders[k - 1] if len(leaders) >= k else len(firsts)
    return np.flatnonzero((positions < size) | ((positions <= last) & (firsts >= size)))


def _best_of_each(ranking: Ranking, ids: Ids, firsts: Positions, k: int) -> list[Match]:
    """Return the first match of each group, at most k; deleted images are left out."""
    group_of = dict(zip(ids.tolist(), firsts.tolist(), strict=True))
    best: dict[int, Match] = {}
    for match in ranking.matches:
        if group_of[match.id] >= 0:
            best.setdefault(group_of[match.id], match)
    return list(best.values())[:k]
