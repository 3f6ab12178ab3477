"""The way of a search: picture → decode → encode → coarse → fine → catalogue.

`Searcher` names the steps in order and times them; each is done elsewhere. Knows nothing of HTTP or SQL.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import NotFoundError
from app.search.encode import Encoder
from app.search.index import Code, Feature, Index
from app.search.prepare import Preparer
from app.search.types import Candidates, Match, Mode, SearchOptions, Subset

Row = TypeVar("Row")
RowCo = TypeVar("RowCo", covariant=True)


class Catalogue(Protocol[RowCo]):
    """What a search needs of the truth."""

    def current(self) -> Index:
        """Returns the index with everything in it that was acknowledged before this call."""
        ...

    def matching(self, options: SearchOptions) -> Subset | None:
        """Returns the pictures that the options' filters let through, as of `current` or later; None for all."""
        ...

    def rows(self, ids: Sequence[int]) -> Mapping[int, RowCo]:
        """Returns what is known of these pictures; deleted ones are left out."""
        ...


@dataclass
class Timings:
    """Milliseconds by step."""

    steps: dict[str, float] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Times a step; one that is entered twice counts together."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.steps[name] = self.steps.get(name, 0.0) + 1000 * (time.perf_counter() - begun)

    def total(self) -> dict[str, float]:
        """Returns the steps and the total so far."""
        return {**self.steps, "total": 1000 * (time.perf_counter() - self.started)}


@dataclass(frozen=True)
class Answer(Generic[Row]):
    """What a search found.

    Attributes:
        code: the query's code, `(bits / 8,)` uint8.
        pool_size: candidates that the ranking step looked at.
        catalogue_size: pictures that could have been found.
        matches: ranked, with what the catalogue knows of each.
        timings: milliseconds by step.
    """

    code: NDArray[np.uint8]
    options: SearchOptions
    pool_size: int
    catalogue_size: int
    matches: list[tuple[Match, Row]]
    timings: dict[str, float]


class Searcher(Generic[Row]):
    """Answers searches over one catalogue with one network."""

    def __init__(self, prepare: Preparer, encoder: Encoder, catalogue: Catalogue[Row], pool: int) -> None:
        self._prepare, self._encoder, self._catalogue, self._pool = prepare, encoder, catalogue, pool

    def by_picture(self, data: bytes, options: SearchOptions) -> Answer[Row]:
        """Finds what looks like an uploaded picture.

        Raises:
            PictureRefusedError: the bytes are not a picture that can be used.
        """
        timings = Timings()
        with timings.step("decode"):
            picture = self._prepare(data)
        encoding = self._encoder.encode_one(picture.image)
        # While the network is at work, the catalogue is asked.
        with timings.step("catalogue"):
            index, among = self._catalogue.current(), self._catalogue.matching(options)
        with timings.step("encode"):
            encoded = encoding.result()
        return self._answer(index, among, encoded.codes[0], encoded.features[0], options, timings)

    def warm_up(self) -> None:
        """Searches once, so that nobody's first search waits for what is made ready on first use."""
        grey = BytesIO()
        Image.new("RGB", (self._encoder.size, self._encoder.size), "grey").save(grey, "JPEG")
        self.by_picture(grey.getvalue(), SearchOptions())

    def by_id(self, picture_id: int, options: SearchOptions) -> Answer[Row]:
        """Finds what looks like a picture of the catalogue.

        Raises:
            NotFoundError: there is no such picture.
        """
        timings = Timings()
        with timings.step("catalogue"):
            index, among = self._catalogue.current(), self._catalogue.matching(options)
            found = index.find(picture_id)
        if found is None:
            raise NotFoundError("picture", picture_id)
        return self._answer(index, among, *found, options, timings)

    def _answer(
        self,
        index: Index,
        among: Subset | None,
        code: Code,
        feature: Feature,
        options: SearchOptions,
        timings: Timings,
    ) -> Answer[Row]:
        with timings.step("coarse"):
            candidates = coarse(index, code, options, self._pool, among)
        with timings.step("fine"):
            matches = fine(index, code, feature, candidates, options)
        with timings.step("catalogue"):
            rows = self._catalogue.rows([match.id for match in matches])
        found = [(match, rows[match.id]) for match in matches if match.id in rows]
        return Answer(code, options, len(candidates), len(index), found, timings.total())


def coarse(index: Index, code: Code, options: SearchOptions, pool: int, among: Subset | None) -> Candidates:
    """Chooses the candidates: the pool for `hds`, the answer itself for `bcs`, everything for `es`.

    `pool` is how many suit the network, for a search that does not say.
    """
    if options.mode is Mode.ES:
        return index.everything(among)
    limit = options.pool_limit(pool) if options.mode is Mode.HDS else options.k
    return index.candidates(code, limit, options.radius, among)


def fine(index: Index, code: Code, feature: Feature, candidates: Candidates, options: SearchOptions) -> list[Match]:
    """Orders the candidates by F7; `bcs` keeps the order of the codes."""
    if options.mode is Mode.BCS:
        pairs = zip(candidates.ids.tolist(), candidates.hamming.tolist(), strict=True)
        return [Match(picture_id, float(hamming), hamming) for picture_id, hamming in pairs]
    return index.rank(feature, code, candidates, options.k)
