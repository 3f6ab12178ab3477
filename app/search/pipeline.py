"""Search pipeline: image → decode → encode → coarse → fine → catalogue.

`Searcher` runs and times the steps; each is implemented elsewhere. Independent of HTTP and SQL.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import InvalidInputError, NotFoundError
from app.observability.hooks import ObserverGroup, Operation
from app.search.decode.prepare import ImagePreparer
from app.search.encode.batching import Encoder
from app.search.examples import Example, Upload
from app.search.grouping import rank_groups
from app.search.index import Code, Index
from app.search.prepare_examples import decode_uploads, find_images, keys_of, require_usable
from app.search.ranking import Query, Ranking, rank
from app.search.rocchio import ALONE, Shares, combine, shares_of
from app.search.types import Candidates, Encodings, Ids, Match, Mode, SearchOptions, Subset
from models.checkpoint.info import FeatureNorm
from models.checkpoint.similarity import Curve, Similarity
from models.network.latent_layer import LatentLayer

Row = TypeVar("Row")
RowCo = TypeVar("RowCo", covariant=True)


class SearchCatalogue(Protocol[RowCo]):
    """Catalogue operations that a search uses."""

    def synced_index(self) -> Index:
        """Return the index, including everything acknowledged before this call."""
        ...

    def filtered(self, options: SearchOptions) -> Subset | None:
        """Return the images that pass the options' filters, as of `synced_index` or later; None for all."""
        ...

    def first_of_group(self, ids: Ids, field: str) -> NDArray[np.int64]:
        """Return for each of `ids` the position in `ids` of the first image of its group, `(n,)`.

        Images with equal values of a field form a group; an image without the field is its own group. Deleted images
        have -1.
        """
        ...

    def ids_by_key(self, keys: Sequence[str]) -> Mapping[str, int]:
        """Return the ids of images by key, as the key is given; unknown keys are omitted."""
        ...

    def summaries(self, ids: Sequence[int]) -> Mapping[int, RowCo]:
        """Return catalogue rows by image id; deleted images are omitted."""
        ...


@dataclass(frozen=True)
class Explanation:
    """Explanation of a match's rank.

    Attributes:
        coarse_rank: rank among the candidates in the order of the coarse step, from 1; None if codes were not used.
        code: binary code of the match, `(bits / 8,)` uint8.
        bits: indices of bits that differ from the query's code, ascending; the first bit of the first byte is 0.
    """

    coarse_rank: int | None
    code: Code
    bits: list[int]


@dataclass(frozen=True)
class SearchResult(Generic[Row]):
    """Result of a search.

    Attributes:
        code: the query's code, `(bits / 8,)` uint8.
        options: options of the search.
        pool_size: number of candidates ranked.
        catalogue_size: number of images in the index.
        matches: ranked matches with their catalogue rows.
        explanations: one for each match if requested, else empty.
        timings: milliseconds by step.
        model: fingerprint of the network used.
        group_limit_reached: whether there may be more groups than were found; see `Ranking`.
        warnings: flaws of the query's file, as sentences.
        asymmetric: whether the candidates were in asymmetric order.
    """

    code: NDArray[np.uint8]
    options: SearchOptions
    pool_size: int
    catalogue_size: int
    matches: list[tuple[Match, Row]]
    explanations: list[Explanation]
    timings: dict[str, float]
    model: str = ""
    group_limit_reached: bool = False
    warnings: tuple[str, ...] = ()
    asymmetric: bool = False


class Searcher(Generic[Row]):
    """Searches one catalogue with one network.

    Args:
        prepare: decodes images for the network.
        encoder: the network.
        catalogue: the images to search.
        pool: default number of candidates of the fine step.
        similarity: calibration of the network, if it has one.
        observers: called at the start and end of each search.
        latent: H over stored F7, if the index version's codes are computed with it; the encoder's codes are ignored.
        norm: whether the network's F7 is scaled to unit length.
    """

    def __init__(
        self,
        prepare: ImagePreparer,
        encoder: Encoder,
        catalogue: SearchCatalogue[Row],
        pool: int,
        similarity: Similarity | None = None,
        observers: ObserverGroup | None = None,
        latent: LatentLayer | None = None,
        norm: FeatureNorm = "raw",
    ) -> None:
        self._prepare, self._encoder, self._catalogue = prepare, encoder, catalogue
        self._pool, self._similarity, self._latent, self._norm = pool, similarity, latent, norm
        self._observers = observers or ObserverGroup()
        self._under_way, self._counting = 0, threading.Lock()

    def by_image(self, data: bytes, options: SearchOptions) -> SearchResult[Row]:
        """Search with an uploaded image.

        Raises:
            ImageRejectedError: the bytes are not a usable image.
            InvalidInputError: `min_similarity` is set and the network is not calibrated.
        """
        self._require_calibration(options)
        with self._observers.operation("search") as work, self._counted():
            return self._by_image(data, options, work)

    def warm_up(self) -> None:
        """Run one search, so that the first request does not wait for lazy initialisation."""
        grey = BytesIO()
        Image.new("RGB", (64, 64), "grey").save(grey, "JPEG")
        self._by_image(grey.getvalue(), SearchOptions(), Operation("warm-up", ObserverGroup()))

    def by_id(self, image_id: int, options: SearchOptions) -> SearchResult[Row]:
        """Search with an image of the catalogue.

        Raises:
            NotFoundError: the image does not exist.
            InvalidInputError: `min_similarity` is set and the network is not calibrated.
        """
        self._require_calibration(options)
        with self._observers.operation("search") as work:
            with work.stage("catalogue"):
                index, among = self._catalogue.synced_index(), self._catalogue.filtered(options)
                found = index.find(image_id)
            if found is None:
                raise NotFoundError("image", image_id)
            return self._answer(index, among, Encodings(found[0][None], found[1][None]), ALONE, options, work)

    def by_examples(self, examples: Sequence[Example], options: SearchOptions) -> SearchResult[Row]:
        """Search with several examples together, or with one, which gives the same as `by_image` or `by_id`.

        Args:
            examples: images to find and to avoid, from `make_examples`.
            options: options of the search; `crop` is a part of the only upload.

        Raises:
            ImageRejectedError: the only example is not a usable image.
            InvalidExamplesError: some of several examples cannot be used; lists every one.
            InvalidInputError: the examples cancel each other out, `crop` is given without exactly one upload, or
                `min_similarity` is set and the network is not calibrated.
        """
        if len(examples) == 1 and isinstance(upload := examples[0].source, Upload):
            return self.by_image(upload.read(), options)
        self._require_calibration(options)
        with self._observers.operation("search") as work:
            with work.stage("decode"):
                uploads = decode_uploads(examples, self._prepare, self._encoder, options.crop)
            with work.stage("catalogue"):
                ids = self._catalogue.ids_by_key(keys_of(examples))
                index, among = self._catalogue.synced_index(), self._catalogue.filtered(options)
                prepared = uploads | find_images(examples, index, ids)
            require_usable(prepared)
            with work.stage("encode"):
                codes, features = zip(*(prepared[example].encoded() for example in examples), strict=True)
            encoded = Encodings(np.stack(codes), np.stack(features))
            answer = self._answer(index, among, encoded, shares_of(examples), options, work)
            return replace(answer, warnings=tuple(text for one in prepared.values() for text in one.warnings))

    def _by_image(self, data: bytes, options: SearchOptions, work: Operation) -> SearchResult[Row]:
        with work.stage("decode"):
            prepared = self._prepare(data, crop=options.crop)
        encoding = self._encoder.encode_one(prepared.pixels, alone=self._under_way <= 1)
        # Query the catalogue while the network encodes.
        with work.stage("catalogue"):
            index, among = self._catalogue.synced_index(), self._catalogue.filtered(options)
        with work.stage("encode"):
            encoded = encoding.result()
        answer = self._answer(index, among, encoded, ALONE, options, work)
        return replace(answer, warnings=tuple(warning.sentence for warning in prepared.warnings))

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Count a search as under way for the length of the block."""
        with self._counting:
            self._under_way += 1
        try:
            yield
        finally:
            with self._counting:
                self._under_way -= 1

    def _answer(
        self,
        index: Index,
        among: Subset | None,
        encoded: Encodings,
        shares: Shares,
        options: SearchOptions,
        work: Operation,
    ) -> SearchResult[Row]:
        with work.stage("encode") if self._latent is not None else nullcontext():
            asked = combine(encoded, shares, index, self._latent, self._norm)
        query = Query(index, among, asked, options, self._pool, self._curve(options.mode))
        ranking = self._ranking(query, work)
        with work.stage("catalogue"):
            rows = self._catalogue.summaries([match.id for match in ranking.matches])
        found = [(match, rows[match.id]) for match in ranking.matches if match.id in rows]
        explanations = explain(query, ranking.candidates, found) if options.explain else []
        work.attributes.update(mode=options.mode.value, candidates=ranking.compared, matches=len(found))
        return SearchResult(
            code=query.code,
            options=options,
            pool_size=ranking.compared,
            catalogue_size=len(index),
            matches=found,
            explanations=explanations,
            timings=work.timings(),
            group_limit_reached=ranking.group_limit_reached,
            asymmetric=query.ordering is not None,
        )

    def _ranking(self, query: Query, work: Operation) -> Ranking:
        field = query.options.group_by
        if field is None:
            return rank(query, query.options.k, work)
        return rank_groups(query, lambda ids: self._catalogue.first_of_group(ids, field), work)

    def _curve(self, mode: Mode) -> Curve | None:
        """Calibration curve of the distance that ranks the matches; None if the network is not calibrated."""
        if self._similarity is None:
            return None
        return self._similarity.codes if mode is Mode.BCS else self._similarity.features

    def _require_calibration(self, options: SearchOptions) -> None:
        """Reject `min_similarity` before any work if the network is not calibrated."""
        if options.min_similarity is not None and self._similarity is None:
            reason = "the network is not calibrated. Run `lookalike calibrate` first."
            raise InvalidInputError("min_similarity", reason)


def explain(query: Query, candidates: Candidates, found: Sequence[tuple[Match, object]]) -> list[Explanation]:
    """Explain each match: its rank by code, and the bits that differ."""
    codes = query.index.codes(np.array([match.id for match, _ in found], np.int64))
    ranks = {int(image_id): rank for rank, image_id in enumerate(candidates.ids, 1)}
    return [
        Explanation(
            None if query.options.mode is Mode.ES else ranks[match.id],
            own,
            np.flatnonzero(np.unpackbits(own ^ query.code)).tolist(),
        )
        for (match, _), own in zip(found, codes, strict=True)
    ]
