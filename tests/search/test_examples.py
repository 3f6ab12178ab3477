"""Searches with several examples, compared with brute force on both indexes, and the rules for examples."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from app.errors import ImageRejectedError, InvalidExamplesError, InvalidInputError
from app.observability.hooks import ObserverGroup, Operation
from app.search.decode.image import Crop
from app.search.examples import Example, Field, Source, Upload, make_examples, parse_reference
from app.search.grouping import rank_groups
from app.search.local.fine import l2_distances
from app.search.ranking import Query, Ranking, rank
from app.search.rocchio import UNLIKE_FRACTION, combine, combine_codes, combine_features, shares_of
from app.search.types import Encodings, Mode, SearchOptions
from models.checkpoint.info import FeatureNorm
from models.checkpoint.similarity import LogisticCurve
from models.network.codes import hamming, unpack
from models.network.latent_layer import LatentLayer, fit_latent_layer
from tests.search import test_indexes as indexes
from tests.search.coarse_order import CoarseOrder, short_shortlists
from tests.search.test_indexes import SUBSETS
from tests.search.test_pipeline import FIRST_ID, IMAGES, SIMILARITY, World, adapted, fake, png

__all__ = ["adapted", "fake"]

Rows = list[int]
POOL = 12


def upload(at: int) -> Upload:
    return Upload(f"{at}.png", lambda: png(at))


def examples(
    like: Sequence[Source], unlike: Sequence[Source] = (), weights: Mapping[Field, Sequence[float]] | None = None
) -> list[Example]:
    """Examples with uploads in fields of their own."""
    sources: dict[Field, list[Source]] = {
        "image": [one for one in like if isinstance(one, Upload)],
        "like": [one for one in like if not isinstance(one, Upload)],
        "unlike_image": [one for one in unlike if isinstance(one, Upload)],
        "unlike": [one for one in unlike if not isinstance(one, Upload)],
    }
    return make_examples(sources, weights or {})


# ----------------------------------------------------------------------------------------------- brute force


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
        combined = sum(share * self.features[row] for share, row in zip(shares, at, strict=True))
        assert isinstance(combined, np.ndarray)
        combined /= np.linalg.norm(combined) if norm == "unit" else sum(shares)
        self.feature: NDArray[np.float64] = combined
        votes = sum(share * (2.0 * np.unpackbits(self.codes[row]) - 1) for share, row in zip(shares, at, strict=True))
        projected = votes if latent is None else latent.weights.astype(np.float64) @ combined + latent.biases
        assert isinstance(projected, np.ndarray)
        self.projections: NDArray[np.float64] = projected
        self.code = np.packbits(projected > 0)
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
        for (ids, shares), norm in itertools.product(EXAMPLES[:: 1 + (among != "all")], ("raw", "unit")):
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


# -------------------------------------------------------------------------------------- one example alone


@pytest.mark.parametrize("mode", Mode)
def test_one_example_equals_the_search_by_it_to_the_bit(fake: World, adapted: World, mode: Mode) -> None:
    options = SearchOptions(k=20, mode=mode, explain=True)
    for world in (fake, adapted):
        for at in (0, 17, 59):
            by_image, by_id = world.searcher.by_image(png(at), options), world.searcher.by_id(FIRST_ID + at, options)
            for asked, alone in (
                (upload(at), by_image),
                (FIRST_ID + at, by_id),
                (str(world.catalogue.keys[FIRST_ID + at]), by_id),
            ):
                answer = world.searcher.by_examples(examples([asked]), options)
                assert answer.matches == alone.matches
                assert answer.asymmetric == alone.asymmetric
                assert answer.pool_size == alone.pool_size
                np.testing.assert_array_equal(answer.code, alone.code)
                assert [one.coarse_rank for one in answer.explanations] == [
                    one.coarse_rank for one in alone.explanations
                ]


@pytest.mark.parametrize("mode", Mode)
def test_uploads_ids_and_keys_are_interchangeable(fake: World, adapted: World, mode: Mode) -> None:
    options = SearchOptions(k=15, mode=mode)
    for world in (fake, adapted):
        keys = world.catalogue.keys
        by_id = world.searcher.by_examples(examples([FIRST_ID + 3, FIRST_ID + 40], [FIRST_ID + 20]), options)
        for like, unlike in (
            ([upload(3), upload(40)], [upload(20)]),
            ([upload(3), str(keys[FIRST_ID + 40])], [FIRST_ID + 20]),
        ):
            answer = world.searcher.by_examples(examples(like, unlike), options)
            assert answer.matches == by_id.matches
            np.testing.assert_array_equal(answer.code, by_id.code)


def test_order_of_examples_does_not_matter(fake: World) -> None:
    ids = [FIRST_ID + at for at in (3, 40, 17, 58, 29)]
    answers = [
        fake.searcher.by_examples(examples(order[:3], order[3:]), SearchOptions(k=30))
        for order in (ids, [*ids[2::-1], *ids[:2:-1]])
    ]
    assert [match.id for match, _ in answers[0].matches] == [match.id for match, _ in answers[1].matches]


def test_label_explanations_and_min_similarity_apply_to_the_combined_query(fake: World) -> None:
    asked = examples([FIRST_ID + 3, FIRST_ID + 40], [FIRST_ID + 20])
    answer = fake.searcher.by_examples(asked, SearchOptions(k=60, pool=60, explain=True, label="boot"))
    labels = {FIRST_ID + at: drawing.label for at, drawing in enumerate(IMAGES)}
    assert answer.matches
    assert {labels[match.id] for match, _ in answer.matches} == {"boot"}
    for (match, _), explanation in zip(answer.matches, answer.explanations, strict=True):
        different = np.flatnonzero(np.unpackbits(answer.code ^ explanation.code))
        assert explanation.bits == different.tolist()
        assert len(explanation.bits) == match.hamming
    assert sorted(one.coarse_rank or 0 for one in answer.explanations) == list(range(1, len(answer.matches) + 1))


# ---------------------------------------------------------------------------------------------- combination


def test_shares_add_up_to_one_and_minus_the_fraction() -> None:
    asked = examples([1, 2, 3], [4, 5], {"like": [1, 2, 1], "unlike": [3, 1]})
    np.testing.assert_allclose(
        shares_of(asked), [0.25, 0.5, 0.25, -0.75 * UNLIKE_FRACTION, -0.25 * UNLIKE_FRACTION], rtol=1e-12
    )
    huge = examples([1, 2], weights={"like": [1e308, 1e308]})
    np.testing.assert_array_equal(shares_of(huge), [0.5, 0.5])


def test_asymmetric_distance_to_votes_is_the_sum_of_hamming_distances() -> None:
    rng = np.random.default_rng(0)
    codes, others = rng.integers(0, 256, (3, 4), np.uint8), rng.integers(0, 256, (200, 4), np.uint8)
    shares = np.array([0.5, 0.5, -0.5])
    votes = combine_codes(codes, shares)
    asymmetric = (unpack(others ^ np.packbits(votes > 0)) * np.abs(votes)).sum(axis=1)
    mean = sum(share * hamming(code, others) for share, code in zip(shares, codes, strict=True))
    assert np.ptp(asymmetric - np.asarray(mean)) < 1e-9


def test_examples_that_cancel_out_raise() -> None:
    features = np.array([[1, 0], [-1, 0]], np.float32)
    for norm in ("raw", "unit"):
        with pytest.raises(InvalidInputError, match="cancels out"):
            combine_features(features, np.array([0.5, 0.5]), norm)  # type: ignore[arg-type]  # a literal of the loop
    combined = combine_features(np.array([[3, 0], [0, 4]], np.float32), np.array([0.5, 0.5]), "unit")
    np.testing.assert_allclose(combined, [0.6, 0.8], rtol=1e-6)
    assert combined.dtype == np.float32


def test_unlike_moves_results_away(fake: World) -> None:
    like, unlike = FIRST_ID + 3, FIRST_ID + 40
    features = fake.encoded.features

    def distance_to_unlike(answer_ids: list[int]) -> float:
        vectors = features[np.array(answer_ids) - FIRST_ID]
        return float(l2_distances(features[40], vectors, np.arange(len(vectors))).mean())

    options = SearchOptions(k=10, mode=Mode.ES)
    alone = fake.searcher.by_examples(examples([like]), options).matches
    away = fake.searcher.by_examples(examples([like], [unlike]), options).matches
    assert distance_to_unlike([match.id for match, _ in away]) > distance_to_unlike([match.id for match, _ in alone])


# -------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("17", 17),
        ("key:17", "17"),
        ("sku-4", "sku-4"),
        ("key:key:a", "key:a"),
        ("-3", "-3"),
        ("1" * 30, "1" * 30),
        ("²", "²"),
    ],
)
def test_references_are_ids_or_keys(text: str, reference: int | str) -> None:
    assert parse_reference(text) == reference


def test_invalid_examples_are_all_listed(fake: World) -> None:
    broken = Upload("broken.png", lambda: b"not an image")
    asked = examples([upload(1), broken, 7, FIRST_ID, "no such key"], [2**70, FIRST_ID, upload(1), "a\0b"])
    with pytest.raises(InvalidExamplesError) as invalid:
        fake.searcher.by_examples(asked, SearchOptions())
    reasons = invalid.value.reasons
    assert set(reasons) == {"image.1", "like.0", "like.2", "unlike.0", "unlike.1", "unlike.2", "unlike_image.0"}
    assert reasons["image.1"].startswith('"broken.png": ')
    assert "there is no image 7" in reasons["like.0"]
    assert "write key:7" in reasons["like.0"]
    assert 'key "no such key"' in reasons["like.2"]
    assert reasons["unlike.1"] == "is the same image as like.1. Leave out one of the two."
    assert reasons["unlike_image.0"] == "is the same image as image.0. Leave out one of the two."


def test_only_example_is_rejected_as_in_a_search_by_it(fake: World) -> None:
    with pytest.raises(ImageRejectedError):
        fake.searcher.by_examples(examples([Upload("", lambda: b"not an image")]), SearchOptions())


WRONG: dict[str, tuple[list[Source], list[Source], dict[Field, list[float]], str]] = {
    "nothing to find": ([], [1], {}, "is missing"),
    "seventeen": (list(range(9)), list(range(20, 28)), {}, "17 examples are given"),
    "too few weights": ([1, 2], [], {"like": [1]}, "has 1 numbers for 2 images"),
    "weights of no images": ([1, 2], [], {"image": [1]}, "has 1 numbers for 0 images"),
    "not a number": ([1, 2], [], {"like": [1, float("nan")]}, "like.1: nan is not a weight"),
    "negative": ([1, 2], [3], {"unlike": [-1]}, "unlike.0: -1 is not a weight"),
    "infinite": ([1, 2], [], {"like": [float("inf"), 1]}, "inf is not a weight"),
    "all zero": ([1, 2], [], {"like": [0, 0]}, "are 0 for all images to be found"),
    "all zero to avoid": ([1, 2], [3], {"unlike": [0]}, "are 0 for all images to be avoided"),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_examples_raise(case: str) -> None:
    like, unlike, weights, message = WRONG[case]
    with pytest.raises((InvalidInputError, InvalidExamplesError), match=message):
        examples(like, unlike, weights)


def test_sixteen_examples_are_accepted(fake: World) -> None:
    asked = examples([FIRST_ID + at for at in range(12)], [FIRST_ID + at for at in range(20, 24)])
    assert len(fake.searcher.by_examples(asked, SearchOptions(k=7)).matches) == 7


def test_crop_needs_exactly_one_upload(fake: World) -> None:
    options = SearchOptions(crop=Crop(0, 0, 20, 20))
    for asked in ([FIRST_ID, FIRST_ID + 1], [upload(1), upload(2)]):
        with pytest.raises(InvalidInputError, match="crop"):
            fake.searcher.by_examples(examples(asked), options)
    cropped = fake.searcher.by_examples(examples([upload(1), FIRST_ID + 2]), options)
    whole = fake.searcher.by_examples(examples([upload(1), FIRST_ID + 2]), replace(options, crop=None))
    assert not np.array_equal(cropped.code, whole.code)


def test_similarity_is_that_of_the_distance_to_the_combined_query(fake: World) -> None:
    fake.searcher._similarity = SIMILARITY
    try:
        asked = examples([FIRST_ID + 3, FIRST_ID + 40], [FIRST_ID + 20])
        every = fake.searcher.by_examples(asked, SearchOptions(k=40, mode=Mode.ES)).matches
        assert isinstance(SIMILARITY.features, LogisticCurve)
        assert [match.similarity for match, _ in every] == [SIMILARITY.features(match.distance) for match, _ in every]
        least = every[10][0].similarity
        cut = fake.searcher.by_examples(asked, SearchOptions(k=40, mode=Mode.ES, min_similarity=least)).matches
        assert cut == [(match, key) for match, key in every if (match.similarity or 0) >= (least or 0)]
        assert 10 < len(cut) < 40
    finally:
        fake.searcher._similarity = None
