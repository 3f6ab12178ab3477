"""Searches with groups, compared with brute force over random catalogues."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.catalogue.vectors.file import VectorFile
from app.search import grouping
from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from app.search.index import Index
from app.search.local.index import LocalIndex
from app.search.pipeline import Searcher, SearchResult
from app.search.pool import MAX_EQUAL_CODES
from app.search.types import Encodings, Ids, IndexEntries, Mode, SearchOptions, Subset
from models.checkpoint.similarity import LogisticCurve, Similarity
from models.network.latent_layer import LatentLayer
from tests.fakes import FAKE_NETWORK, FakeEncoder
from tests.search.coarse_order import CoarseOrder, short_shortlists

# Few bits and few values of F7, so that many distances tie.
BITS, DIM, DEFAULT_POOL = 8, 2, 4
SIMILARITY = Similarity("two views", LogisticCurve(2.0, 2.0), LogisticCurve(3.0, 2.0), 0.1, 0.1)


@dataclass(frozen=True)
class Content:
    """Images of a catalogue: image i has id i, and the group `groups[i]`; None is a group of its own."""

    encoded: Encodings
    groups: tuple[int | None, ...]
    passing: Subset | None = None

    def group(self, image: int) -> object:
        """Return the group of an image."""
        return ("own", image) if self.groups[image] is None else self.groups[image]


@dataclass
class Catalogue:
    """In-memory catalogue that records how many images of which it reads the groups."""

    index: LocalIndex
    content: Content
    read: list[int]

    def synced_index(self) -> Index:
        return self.index

    def filtered(self, _options: SearchOptions) -> Subset | None:
        return self.content.passing

    def first_of_group(self, ids: Ids, _field: str) -> NDArray[np.int64]:
        self.read.append(len(ids))
        groups = [self.content.group(image_id) for image_id in ids.tolist()]
        return np.array([groups.index(group) for group in groups], np.int64)

    def ids_by_key(self, keys: Sequence[str]) -> Mapping[str, int]:
        return {key: int(key) for key in keys}

    def summaries(self, ids: Sequence[int]) -> Mapping[int, int]:
        return {image_id: image_id for image_id in ids}


@contextmanager
def searching(content: Content, latent: LatentLayer | None = None) -> Iterator[tuple[Searcher[int], Catalogue]]:
    """Open a searcher of a catalogue."""
    with TemporaryDirectory() as folder, closing(VectorFile(Path(folder) / "vectors", DIM)) as vectors:
        index, slots = LocalIndex(BITS, vectors), np.arange(len(content.groups))
        checksums = vectors.write(slots, content.encoded.features)
        index.add(IndexEntries(slots, content.encoded.codes, slots, checksums))
        catalogue, encoder = Catalogue(index, content, []), FakeEncoder()
        prepare = InProcessPreparer(FAKE_NETWORK.preprocess, DecodeLimits())
        yield Searcher(prepare, encoder, catalogue, DEFAULT_POOL, SIMILARITY, latent=latent), catalogue


def expected(
    content: Content, query: int, options: SearchOptions, latent: LatentLayer | None
) -> tuple[list[int], list[int]]:
    """Expected ids, and the candidates by code that are read for them."""
    passing = [at for at in range(len(content.groups)) if content.passing is None or at in content.passing.ids]
    features = content.encoded.features
    exact = np.linalg.norm(features - features[query], axis=1)
    ranked, read = sorted(passing, key=lambda at: (exact[at], at)), list[int]()
    similarities = [SIMILARITY.features(float(distance)) for distance in exact]
    if options.mode is not Mode.ES:
        order = coarse_order(content, query, options, latent)
        near = [at for at in passing if options.radius is None or order.hamming[at] <= options.radius]
        if options.mode is Mode.BCS:
            similarities = [SIMILARITY.codes(float(distance)) for distance in order.hamming]
            near = [at for at in near if similarities[at] >= (options.min_similarity or 0)]
            ranked = read = grouped(content, near, order, order.first(near, 10 * options.k), options.k)
        else:
            pool = first_pool(near, order, options.pool_limit(DEFAULT_POOL))
            read = grouped(content, near, order, pool, options.k)
            ranked = sorted(grown_pool(content, read, len(pool), options.k), key=lambda at: (exact[at], at))
    best: dict[object, int] = {}
    for at in ranked:
        if similarities[at] >= (options.min_similarity or 0):
            best.setdefault(content.group(at), at)
    return list(best.values())[: options.k], read


def coarse_order(content: Content, query: int, options: SearchOptions, latent: LatentLayer | None) -> CoarseOrder:
    if latent is None:
        return CoarseOrder.of(content.encoded.codes[query], content.encoded.codes)
    weights, biases = latent.weights.astype(np.float64), latent.biases.astype(np.float64)
    projections = weights @ content.encoded.features[query] + biases
    order = projections if options.asymmetric else None
    return CoarseOrder.of(np.packbits(projections > 0), content.encoded.codes, order)


def first_pool(near: list[int], order: CoarseOrder, size: int | None) -> list[int]:
    """The pool of a search without groups."""
    pool = order.first(near, size)
    if size is None or len(pool) < size or order.hamming[pool[-1]] > 0:
        return pool
    return [at for at in near if order.hamming[at] == 0]


def grouped(content: Content, near: list[int], order: CoarseOrder, read: list[int], k: int) -> list[int]:
    """Read ten times as many candidates until they belong to k groups, or are all."""
    while len(read) < len(near) and len({content.group(at) for at in read}) < k:
        read = order.first(near, 10 * len(read))
    return read


def grown_pool(content: Content, read: list[int], size: int, k: int) -> list[int]:
    pool = read[:size]
    full = {content.group(at) for at in pool}
    groups = set(full)
    for at in read[size:]:
        if len(groups) >= k:
            break
        if content.group(at) not in full:
            pool.append(at)
            groups.add(content.group(at))
    return pool


@st.composite
def contents(draw: st.DrawFn) -> Content:
    """Draw a catalogue; often one large group is nearest to the first image."""
    count = draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = rng.integers(0, 256, (count, BITS // 8), np.uint8)
    groups = rng.integers(0, draw(st.integers(1, 20)), count)
    large = rng.random(count) < draw(st.sampled_from([0, 0.5, 0.9]))
    codes[large], groups[large] = codes[0] & draw(st.sampled_from([0, 255])), 0
    features = rng.integers(0, 4, (count, DIM)).astype(np.float32)
    own = rng.random(count) < 0.2
    passing = Subset(np.flatnonzero(rng.random(count) < 0.7)) if draw(st.booleans()) else None
    numbers = tuple(None if alone else int(group) for group, alone in zip(groups, own, strict=True))
    return Content(Encodings(codes, features), numbers, passing)


@st.composite
def latent_layers(draw: st.DrawFn) -> LatentLayer:
    """Draw a latent layer of small whole numbers, so that asymmetric distances are exact, and many tie."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    weights = rng.integers(1, 3, (BITS, DIM)) * rng.choice([-1, 1], (BITS, DIM))
    return LatentLayer(weights.astype(np.float32), rng.integers(-3, 4, BITS).astype(np.float32), 4.0)


LATENT_LAYERS = st.none() | latent_layers()
OPTIONS = st.builds(
    SearchOptions,
    k=st.integers(1, 30),
    mode=st.sampled_from(Mode),
    pool=st.none() | st.integers(1, 70),
    radius=st.none() | st.integers(0, BITS),
    asymmetric=st.booleans(),
    min_similarity=st.sampled_from([None, 0.2, 0.3, 0.5, 0.6, 1.0]),
    group_by=st.just("product"),
    explain=st.booleans(),
)


def found(answer: SearchResult[int]) -> list[int]:
    return [match.id for match, _ in answer.matches]


@settings(deadline=None, max_examples=300)
@given(contents(), OPTIONS, LATENT_LAYERS, st.data())
def test_groups_equal_brute_force(
    content: Content, options: SearchOptions, latent: LatentLayer | None, data: st.DataObject
) -> None:
    query = data.draw(st.integers(0, len(content.groups) - 1))
    with searching(content, latent) as (searcher, _), short_shortlists(6, 2, 20):
        for mode, asymmetric in product(Mode, (True, False)):
            options = replace(options, mode=mode, asymmetric=asymmetric)
            answer = searcher.by_id(query, options)
            ids, read = expected(content, query, options, latent)
            assert found(answer) == ids
            assert not answer.group_limit_reached
            assert answer.asymmetric == (latent is not None and asymmetric and mode is not Mode.ES)
            if options.explain and mode is not Mode.ES:
                assert [one.coarse_rank for one in answer.explanations] == [read.index(image) + 1 for image in ids]


@settings(deadline=None, max_examples=100)
@given(contents(), OPTIONS, LATENT_LAYERS)
def test_k_groups_are_found_if_there_are_k(
    content: Content, options: SearchOptions, latent: LatentLayer | None
) -> None:
    passing = range(len(content.groups)) if content.passing is None else content.passing.ids.tolist()
    there = len({content.group(image) for image in passing})
    with searching(content, latent) as (searcher, _), short_shortlists(6, 2, 20):
        answer = searcher.by_id(0, replace(options, radius=None, min_similarity=None))
    assert len(answer.matches) == min(options.k, there)


def one_large_group(count: int) -> Content:
    """A large group at the query's code, and five groups far away."""
    codes, features = np.zeros((count + 5, 1), np.uint8), np.zeros((count + 5, DIM), np.float32)
    codes[count:], features[count:] = 255, 9
    return Content(Encodings(codes, features), (0,) * count + (1, 2, 3, 4, 5))


@pytest.mark.parametrize("mode", Mode)
def test_groups_behind_one_large_group_are_found(mode: Mode) -> None:
    """Fewer images are ranked than were read: those of the large group beyond the pool are left out."""
    count = MAX_EQUAL_CODES + 500
    with searching(one_large_group(count)) as (searcher, _):
        answer = searcher.by_id(7, SearchOptions(k=5, mode=mode, group_by="product"))
    assert found(answer) == [0, *range(count, count + 4)]
    assert not answer.group_limit_reached
    assert mode is not Mode.HDS or answer.pool_size == MAX_EQUAL_CODES + 4


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("options", [{}, {"min_similarity": 0.9}, {"radius": 0}], ids=str)
def test_search_that_ends_at_the_limit_says_so(
    mode: Mode, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouping, "MAX_GROUPED", 50)
    with searching(one_large_group(60)) as (searcher, catalogue):
        answer = searcher.by_id(7, SearchOptions(k=2, mode=mode, group_by="product", **options))
        # The pool has all images of the query's code.
        assert max(catalogue.read) == (60 if mode is Mode.HDS else 50)
        enough = searcher.by_id(7, SearchOptions(k=1, mode=mode, group_by="product", **options))
    assert (found(answer), answer.group_limit_reached) == ([0], mode is not Mode.HDS or "radius" not in options)
    assert (found(enough), enough.group_limit_reached) == ([0], False)


@pytest.mark.parametrize("mode", Mode)
def test_search_without_groups_reads_none(mode: Mode) -> None:
    with searching(one_large_group(60)) as (searcher, catalogue):
        answer = searcher.by_id(7, SearchOptions(k=5, mode=mode))
    assert catalogue.read == []
    assert not answer.group_limit_reached
