"""The way of a search: picture → decode → encode → coarse → fine → catalogue.

`Searcher` names the steps in order and times them; each is done elsewhere. Knows nothing of HTTP or SQL.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidInputError, NotFoundError
from app.observability.hooks import Observers, Work
from app.search.decode.prepare import Preparer
from app.search.encode.batching import Encoder
from app.search.index import Code, Feature, Index, Ranked
from app.search.pool import pool_of
from app.search.types import NO_CANDIDATES, Candidates, Match, Mode, SearchOptions, Subset
from models.checkpoint.similarity import Curve, Similarity

# So many times as many are looked at where several of a group were found, up to the most.
_FURTHER, MAX_GROUPED = 4, 100_000


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

    def firsts(self, ids: Sequence[int], field: str, most: int) -> Sequence[int]:
        """Returns where the first picture of each group stands in `ids`, ascending, `most` of them at most.

        A group has the same in a field; a picture without the field is a group of its own. Deleted ones are left out.
        """
        ...

    def rows(self, ids: Sequence[int]) -> Mapping[int, RowCo]:
        """Returns what is known of these pictures; deleted ones are left out."""
        ...


@dataclass(frozen=True)
class Explanation:
    """Why a match is where it is.

    Attributes:
        coarse_rank: its place among the candidates by code, from 1; None where codes played no part.
        code: its binary code, `(bits / 8,)` uint8.
        bits: which bits differ from the query's, ascending, the first bit of the first byte being 0.
    """

    coarse_rank: int | None
    code: Code
    bits: list[int]


@dataclass(frozen=True)
class Answer(Generic[Row]):
    """What a search found.

    Attributes:
        code: the query's code, `(bits / 8,)` uint8.
        pool_size: candidates that the ranking step looked at.
        catalogue_size: pictures that could have been found.
        matches: ranked, with what the catalogue knows of each.
        explanations: one for each match, where they were asked for.
        timings: milliseconds by step.
        model: fingerprint of the network that answered.
    """

    code: NDArray[np.uint8]
    options: SearchOptions
    pool_size: int
    catalogue_size: int
    matches: list[tuple[Match, Row]]
    explanations: list[Explanation]
    timings: dict[str, float]
    model: str = ""


class Searcher(Generic[Row]):
    """Answers searches over one catalogue with one network."""

    def __init__(
        self,
        prepare: Preparer,
        encoder: Encoder,
        catalogue: Catalogue[Row],
        pool: int,
        similarity: Similarity | None = None,
        observers: Observers | None = None,
    ) -> None:
        self._prepare, self._encoder, self._catalogue = prepare, encoder, catalogue
        self._pool, self._similarity = pool, similarity
        self._observers = observers or Observers()

    def by_picture(self, data: bytes, options: SearchOptions) -> Answer[Row]:
        """Finds what looks like an uploaded picture.

        Raises:
            PictureRefusedError: the bytes are not a picture that can be used.
        """
        self._require_calibration(options)
        with self._observers.work("search") as work:
            return self._by_picture(data, options, work)

    def warm_up(self) -> None:
        """Searches once, so that nobody's first search waits for what is made ready on first use."""
        grey = BytesIO()
        Image.new("RGB", (self._encoder.size, self._encoder.size), "grey").save(grey, "JPEG")
        self._by_picture(grey.getvalue(), SearchOptions(), Work("warm-up", Observers()))

    def by_id(self, picture_id: int, options: SearchOptions) -> Answer[Row]:
        """Finds what looks like a picture of the catalogue.

        Raises:
            NotFoundError: there is no such picture.
        """
        self._require_calibration(options)
        with self._observers.work("search") as work:
            with work.stage("catalogue"):
                index, among = self._catalogue.current(), self._catalogue.matching(options)
                found = index.find(picture_id)
            if found is None:
                raise NotFoundError("picture", picture_id)
            return self._answer(index, among, *found, options, work)

    def _by_picture(self, data: bytes, options: SearchOptions, work: Work) -> Answer[Row]:
        with work.stage("decode"):
            picture = self._prepare(data, crop=options.crop)
        encoding = self._encoder.encode_one(picture.image)
        # While the network is at work, the catalogue is asked.
        with work.stage("catalogue"):
            index, among = self._catalogue.current(), self._catalogue.matching(options)
        with work.stage("encode"):
            encoded = encoding.result()
        return self._answer(index, among, encoded.codes[0], encoded.features[0], options, work)

    def _answer(
        self,
        index: Index,
        among: Subset | None,
        code: Code,
        feature: Feature,
        options: SearchOptions,
        work: Work,
    ) -> Answer[Row]:
        curve, asked = self._curve(options.mode), options.k
        while True:
            with work.stage("coarse"):
                candidates = coarse(index, code, options, self._pool, asked, among)
            with work.stage("fine"):
                ranked = fine(index, code, feature, candidates, options, asked, among)
            similar = list(similar_enough(ranked.matches, curve, options.min_similarity))
            with work.stage("catalogue"):
                chosen = self._first_of_each(similar, options)
            ended = len(similar) < asked or asked >= MAX_GROUPED
            if options.group_by is None or len(chosen) == options.k or ended:
                break
            # Several of a group were among them: there are fewer groups than were asked for.
            asked = min(asked * _FURTHER, MAX_GROUPED)
        with work.stage("catalogue"):
            rows = self._catalogue.rows([match.id for match in chosen])
        found = [(match, rows[match.id]) for match in chosen if match.id in rows]
        explanations = explain(index, code, candidates, found, options) if options.explain else []
        work.facts.update(mode=options.mode.value, candidates=ranked.looked_at, matches=len(found))
        return Answer(code, options, ranked.looked_at, len(index), found, explanations, work.total())

    def _first_of_each(self, matches: list[Match], options: SearchOptions) -> list[Match]:
        """Keeps the best match of each group, where groups are asked for."""
        if options.group_by is None or not matches:
            return matches
        places = self._catalogue.firsts([match.id for match in matches], options.group_by, options.k)
        return [matches[place] for place in places]

    def _curve(self, mode: Mode) -> Curve | None:
        """Returns what the distances mean that rank the matches; None where nobody knows."""
        if self._similarity is None:
            return None
        return self._similarity.codes if mode is Mode.BCS else self._similarity.features

    def _require_calibration(self, options: SearchOptions) -> None:
        """Refuses before any work what an uncalibrated network cannot answer."""
        if options.min_similarity is not None and self._similarity is None:
            reason = "the network in use was never calibrated, so nobody knows; `lookalike calibrate` does it"
            raise InvalidInputError("min_similarity", reason)


def similar_enough(ranked: list[Match], curve: Curve | None, least: float | None) -> Iterator[Match]:
    """Says of each match how similar it is; ends where they are no longer similar enough."""
    for match in ranked:
        similarity = curve(match.distance) if curve is not None else None
        if least is not None and similarity is not None and similarity < least:
            return
        yield replace(match, similarity=similarity)


def coarse(index: Index, code: Code, options: SearchOptions, pool: int, k: int, among: Subset | None) -> Candidates:
    """Chooses the candidates: the pool for `hds`, the k of the answer itself for `bcs`; none for `es`, which asks all.

    `pool` is how many suit the network, for a search that does not say.
    """
    if options.mode is Mode.ES:
        return NO_CANDIDATES
    if options.mode is Mode.BCS:
        return index.candidates(code, k, options.radius, among)
    return pool_of(index, code, options.pool_limit(pool), options.radius, among)


def explain(
    index: Index, code: Code, candidates: Candidates, found: Sequence[tuple[Match, object]], options: SearchOptions
) -> list[Explanation]:
    """Says for each match where its code put it, and which bits differ."""
    codes = index.codes(np.array([match.id for match, _ in found], np.int64))
    places = {int(picture_id): place for place, picture_id in enumerate(candidates.ids, 1)}
    return [
        Explanation(
            None if options.mode is Mode.ES else places[match.id],
            own,
            np.flatnonzero(np.unpackbits(own ^ code)).tolist(),
        )
        for (match, _), own in zip(found, codes, strict=True)
    ]


def fine(
    index: Index,
    code: Code,
    feature: Feature,
    candidates: Candidates,
    options: SearchOptions,
    k: int,
    among: Subset | None,
) -> Ranked:
    """Orders the candidates by F7, or for `es` all pictures, and keeps k; `bcs` keeps the order of the codes."""
    if options.mode is Mode.ES:
        return index.rank_all(feature, code, k, among)
    if options.mode is Mode.BCS:
        pairs = zip(candidates.ids.tolist(), candidates.hamming.tolist(), strict=True)
        return Ranked([Match(picture_id, float(hamming), hamming) for picture_id, hamming in pairs], len(candidates))
    return Ranked(index.rank(feature, code, candidates, k), len(candidates))
