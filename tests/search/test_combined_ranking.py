"""Ranking for several examples equals a brute-force reference, on both indexes."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.observability.hooks import ObserverGroup, Operation
from app.search.grouping import rank_groups
from app.search.ranking import Query, Ranking, rank
from app.search.rocchio import combine
from app.search.types import Encodings, Mode, SearchOptions
from models.checkpoint.info import FeatureNorm
from models.network.codes import hamming
from models.network.latent_layer import LatentLayer, fit_latent_layer
from tests.search import test_indexes as indexes
from tests.search.coarse_order import CoarseOrder, short_shortlists
from tests.search.example_images import NORMS
from tests.search.test_indexes import SUBSETS

Rows = list[int]


POOL = 12


@pytest.fixture(scope="module", params=["local", "milvus"])
def index_world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[indexes.World]:
    """A filled index of images whose codes fit their F7 in part; read-only."""
    index, catalogue = indexes.opened(request.param, "f32", tmp_path_factory.mktemp("examples"), request)
    with closing(index):
        world = indexes.World(index, catalogue)
        indexes.fill(world)
        yield world


def latent_of(world: indexes.World) -> LatentLayer:
    """Return an H under which the catalogue's codes are the votes of random planes, which need not be F7's."""
    planes = np.random.default_rng(5).normal(size=(indexes.BITS, indexes.DIM)).astype(np.float32)
    features = np.stack(list(world.features.values()))
    return fit_latent_layer(planes, np.zeros(indexes.BITS, np.float32), features)


class Reference:
    """Brute force over an index: F7, codes and order of the combined query, by their definitions."""

    def __init__(
        self,
        world: indexes.World,
        ids: Sequence[int],
        shares: Sequence[float],
        norm: FeatureNorm,
        latent: LatentLayer | None,
    ) -> None:
        self.rows = sorted((image_id, row[0]) for image_id, row in world.catalogue.rows.items())
        self.ids = [image_id for image_id, _ in self.rows]
        self.codes = np.array([list(code) for _, code in self.rows], np.uint8)
        self.features = np.stack([world.features[image_id] for image_id in self.ids]).astype(np.float64)
        at = [self.ids.index(image_id) for image_id in ids]
        combined = np.array(shares) @ self.features[at]
        self.feature = combined / (np.linalg.norm(combined) if norm == "unit" else sum(shares))
        self.projections: Any = np.array(shares) @ (2.0 * np.unpackbits(self.codes[at], axis=1) - 1)
        if latent is not None:
            self.projections = latent.weights.astype(np.float64) @ self.feature + latent.biases
        self.code = np.packbits(self.projections > 0)
        seeds = [
            (self.codes[row], None) if latent is None else self.projected(latent, row)
            for share, row in zip(shares, at, strict=True)
            if share > 0
        ]
        self.queries = [(self.code, self.projections), *seeds]

    def projected(self, latent: LatentLayer, row: int) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        projections = latent.weights.astype(np.float64) @ self.features[row] + latent.biases
        return np.packbits(projections > 0), projections

    def pool(self, at: int, options: SearchOptions, among: Rows, limit: int | None) -> Rows:
        """Rows of the pool of one of the queries."""
        code, projections = self.queries[at]
        order = CoarseOrder.of(code, self.codes, projections if options.asymmetric else None)
        near = [row for row in among if options.radius is None or order.hamming[row] <= options.radius]
        pool = order.first(near, limit)
        if limit is not None and len(pool) >= limit and order.hamming[pool[-1]] == 0:
            return [row for row in near if order.hamming[row] == 0]
        return pool

    def union(self, options: SearchOptions, among: Rows) -> Rows:
        limit = options.pool_limit(POOL)
        return sorted({row for at in range(len(self.queries)) for row in self.pool(at, options, among, limit)})

    def by_distance(self, rows: Rows) -> Rows:
        distances = np.linalg.norm(self.features - self.feature, axis=1)
        return sorted(rows, key=lambda row: (distances[row], row))

    def expected(self, options: SearchOptions, among: Rows) -> Rows:
        """Rows of the results."""
        if options.mode is Mode.BCS:
            return self.pool(0, options, among, options.k)
        return self.by_distance(among if options.mode is Mode.ES else self.union(options, among))[: options.k]


def ranked(
    world: indexes.World,
    ids: Sequence[int],
    shares: Sequence[float],
    options: SearchOptions,
    norm: FeatureNorm = "raw",
    latent: LatentLayer | None = None,
    among: str = "all",
) -> tuple[Query, Ranking]:
    found = [world.index.find(image_id) for image_id in ids]
    encoded = Encodings(np.stack([one[0] for one in found if one]), np.stack([one[1] for one in found if one]))
    asked = combine(encoded, np.array(shares), world.index, latent, norm)
    query = Query(world.index, SUBSETS[among], asked, options, POOL, None)
    return query, rank(query, options.k, Operation("search", ObserverGroup()))


OPTIONS = [
    SearchOptions(k=k, mode=mode, pool=pool, radius=radius, asymmetric=asymmetric)
    for mode in Mode
    for asymmetric in (True, False)
    for k, pool, radius in [(10, None, None), (5, 3, None), (40, None, 4), (20, 8, 5), (600, 600, None)]
]


# Ids of examples, and their shares.
EXAMPLES = [
    ([0, 70], [0.5, 0.5]),
    ([0, 70, 4990], [0.5, 0.25, 0.25]),
    ([10, 20, 30, 40], [0.5, 0.5, -0.25, -0.25]),
    ([100, 200], [1.0, -0.5]),
]


@pytest.mark.parametrize("among", ["all", "few", "many", "none"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_mode_equals_brute_force_on_both_indexes(
    index_world: indexes.World, options: SearchOptions, among: str
) -> None:
    subset = SUBSETS[among]
    with short_shortlists(15, 2, 30):
        for (ids, shares), norm in itertools.product(EXAMPLES[:: 1 + (among != "all")], NORMS):
            reference = Reference(index_world, ids, shares, norm, None)
            allowed = [row for row, image_id in enumerate(reference.ids) if subset is None or image_id in subset.ids]
            query, ranking = ranked(index_world, ids, shares, options, norm, among=among)
            expect(query, ranking, reference, options, allowed)


def expect(query: Query, ranking: Ranking, reference: Reference, options: SearchOptions, allowed: Rows) -> None:
    np.testing.assert_array_equal(query.code, reference.code)
    np.testing.assert_allclose(query.encoded.feature, reference.feature, rtol=1e-5, atol=1e-6)
    expected = reference.expected(options, allowed)
    rows = [reference.ids.index(match.id) for match in ranking.matches]
    assert [match.hamming for match in ranking.matches] == hamming(reference.code, reference.codes[rows]).tolist()
    assert rows == expected
    if options.mode is not Mode.BCS:
        exact = np.linalg.norm(reference.features - reference.feature, axis=1)
        np.testing.assert_allclose([match.distance for match in ranking.matches], exact[rows], rtol=1e-4, atol=1e-4)
    if options.mode is Mode.HDS:
        assert ranking.compared == len(reference.union(options, allowed))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_mode_equals_brute_force_with_a_latent_layer(index_world: indexes.World, options: SearchOptions) -> None:
    latent = latent_of(index_world)
    with short_shortlists(15, 2, 30):
        for ids, shares in EXAMPLES:
            reference = Reference(index_world, ids, shares, "raw", latent)
            query, ranking = ranked(index_world, ids, shares, options, latent=latent)
            expect(query, ranking, reference, options, list(range(len(reference.ids))))


def test_pool_has_the_neighbours_of_every_example_to_find(index_world: indexes.World) -> None:
    ids, options = [0, 70, 4990], SearchOptions(k=5, pool=5, explain=True)
    _, ranking = ranked(index_world, ids, [0.5, 0.25, 0.25], options)
    for image_id in ids:
        found = index_world.index.find(image_id)
        assert found is not None
        assert set(index_world.index.candidates(found[0], 5, None, None).ids) <= set(ranking.candidates.ids)
    assert len(ranking.candidates) > 10
    assert ranking.compared == len(ranking.candidates)


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("k", [1, 4, 9])
def test_groups_equal_brute_force(index_world: indexes.World, mode: Mode, k: int) -> None:
    """One large group around the examples, and small ones elsewhere."""
    ids, shares, options = [0, 70, 140], [0.5, 0.5, -0.5], SearchOptions(k=k, mode=mode, pool=6, group_by="any")
    reference = Reference(index_world, ids, shares, "raw", None)
    every = list(range(len(reference.ids)))
    by_code = reference.pool(0, options, every, None)
    large = {*by_code[:200], *reference.by_distance(every)[:200], *reference.union(options, every)}
    group = {row: 0 if row in large else 1 + row % 12 for row in every}

    def first_of_group(found: NDArray[np.int64]) -> NDArray[np.int64]:
        groups = [group[reference.ids.index(image_id)] for image_id in found.tolist()]
        return np.array([groups.index(one) for one in groups], np.int64)

    query, _ = ranked(index_world, ids, shares, options)
    ranking = rank_groups(query, first_of_group, Operation("search", ObserverGroup()))
    order = by_code if mode is Mode.BCS else reference.by_distance(every)
    if mode is Mode.HDS:
        pool, groups = set(reference.union(options, every)), {0}
        for row in (row for row in by_code if row not in pool):
            if len(groups) < k and group[row] != 0:
                groups.add(group[row])
                pool.add(row)
        order = reference.by_distance(sorted(pool))
    best: dict[int, int] = {}
    for row in order:
        best.setdefault(group[row], row)
    assert [reference.ids.index(match.id) for match in ranking.matches] == list(best.values())[:k]
