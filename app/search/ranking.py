"""Rank images for a query: the coarse and the fine step of each mode, then similarity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from app.observability.hooks import Operation
from app.search.index import Code, Feature, Index, RankedMatches
from app.search.pool import Projections, extend_pool, join_pools, nearest_by_code, select_pool
from app.search.types import NO_CANDIDATES, Candidates, Ids, Match, Mode, SearchOptions, Subset
from models.checkpoint.similarity import Curve


@dataclass(frozen=True)
class CodeQuery:
    """What the coarse step compares with other codes.

    Attributes:
        code: binary code, `(bits / 8,)` uint8.
        projections: W F7 + b, `(bits,)`, or votes (`rocchio.combine_codes`); None if there are neither.
    """

    code: Code
    projections: Projections | None = None


@dataclass(frozen=True)
class EncodedQuery:
    """An encoded query.

    Attributes:
        feature: F7, `(d,)` float32.
        coded: its code and projections.
        neighbours: with several examples, those to find, whose pools join the query's own in `hds`.
    """

    feature: Feature
    coded: CodeQuery
    neighbours: Sequence[CodeQuery] = ()


@dataclass(frozen=True)
class Query:
    """An encoded query, and the images to search.

    Attributes:
        index: index of the images.
        among: images that pass the filters; None for all.
        encoded: F7 and codes.
        options: options of the search.
        default_pool: the network's default pool size.
        curve: calibration curve of the distance that ranks the matches; None if the network is not calibrated.
    """

    index: Index
    among: Subset | None
    encoded: EncodedQuery
    options: SearchOptions
    default_pool: int
    curve: Curve | None

    @property
    def code(self) -> Code:
        """Binary code, `(bits / 8,)` uint8."""
        return self.encoded.coded.code

    @property
    def ordering(self) -> Projections | None:
        """Projections that put the candidates in asymmetric order; None for Hamming order, and `es`, which has none."""
        return self._ordering(self.encoded.coded)

    @property
    def radius(self) -> int | None:
        """Maximum Hamming distance of a candidate; for `bcs` it includes `min_similarity`, which is one too."""
        radius, least = self.options.radius, self.options.min_similarity
        if self.options.mode is not Mode.BCS or least is None or self.curve is None:
            return radius
        similar = sum(self.curve(distance) >= least for distance in range(8 * len(self.code) + 1)) - 1
        return similar if radius is None else min(radius, similar)

    def nearest(self, limit: int | None) -> Candidates:
        """Nearest candidates by code, at most `limit`: see `nearest_by_code`."""
        return nearest_by_code(self.index, self.code, limit, self.radius, self.among, self.ordering)

    def pool(self) -> Candidates:
        """Pool of `hds`: that of the query and, with several examples, those of its `neighbours`."""
        limit = self.options.pool_limit(self.default_pool)
        pools = [
            select_pool(self.index, one.code, limit, self.radius, self.among, self._ordering(one))
            for one in (self.encoded.coded, *self.encoded.neighbours)
        ]
        return join_pools(self.index, self.code, pools, self.ordering) if self.encoded.neighbours else pools[0]

    def grown_pool(self, pool: Candidates, limit: int) -> Candidates:
        """The pool, followed by the other ones of the `limit` nearest candidates by code."""
        return extend_pool(pool, self.nearest(limit)) if self.encoded.neighbours else self.nearest(limit)

    def _ordering(self, one: CodeQuery) -> Projections | None:
        return one.projections if self.options.asymmetric and self.options.mode is not Mode.ES else None


@dataclass(frozen=True)
class Ranking:
    """Ranked matches of a query.

    Attributes:
        candidates: images in the order of their codes, from the nearest; none for `es`.
        compared: number of images in the last step.
        matches: matches that are similar enough, nearest first.
        group_limit_reached: whether the search ended before it found k groups, with images left that it did not read.
    """

    candidates: Candidates
    compared: int
    matches: list[Match]
    group_limit_reached: bool = False

    @property
    def ids(self) -> Ids:
        """Ids of the matches, `(n,)`."""
        return np.array([match.id for match in self.matches], np.int64)


def rank(query: Query, k: int, work: Operation) -> Ranking:
    """Rank the k nearest images by the mode's steps."""
    with work.stage("coarse"):
        candidates = coarse(query, k)
    with work.stage("fine"):
        return ranked(query, candidates, fine(query, candidates, k))


def ranked(query: Query, candidates: Candidates, found: RankedMatches) -> Ranking:
    """Give the matches their similarity, and leave out those that are not similar enough."""
    similar = list(with_similarity(found.matches, query.curve, query.options.min_similarity))
    return Ranking(candidates, found.compared, similar)


def coarse(query: Query, k: int) -> Candidates:
    """Select candidates: the pool for `hds`, the k nearest for `bcs`, none for `es`, which ranks all images."""
    if query.options.mode is Mode.ES:
        return NO_CANDIDATES
    if query.options.mode is Mode.BCS:
        return query.nearest(k)
    return query.pool()


def fine(query: Query, candidates: Candidates, k: int) -> RankedMatches:
    """Rank the candidates by F7, or all images for `es`, and keep k; `bcs` keeps the order by code."""
    if query.options.mode is Mode.ES:
        return query.index.rank_all(query.encoded.feature, query.code, k, query.among)
    if query.options.mode is Mode.BCS:
        pairs = zip(candidates.ids.tolist(), candidates.hamming.tolist(), strict=True)
        return RankedMatches([Match(image_id, float(hamming), hamming) for image_id, hamming in pairs], len(candidates))
    return RankedMatches(query.index.rank(query.encoded.feature, candidates, k), len(candidates))


def with_similarity(found: list[Match], curve: Curve | None, minimum: float | None) -> Iterator[Match]:
    """Yield matches with their similarity, without those below the minimum."""
    for match in found:
        similarity = curve(match.distance) if curve is not None else None
        if minimum is None or similarity is None or similarity >= minimum:
            yield Match(match.id, match.distance, match.hamming, similarity)
