"""Search pipeline: image → decode → encode → coarse → fine → catalogue.

`Searcher` runs and times the steps; each is implemented elsewhere. Independent of HTTP and SQL.
"""

from collections.abc import Mapping, Sequence
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
from app.search.grouping import rank_groups
from app.search.index import Code, Feature, Index
from app.search.pool import Projections
from app.search.ranking import Query, Ranking, rank
from app.search.types import Candidates, Ids, Match, Mode, SearchOptions, Subset
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
    ) -> None:
        self._prepare, self._encoder, self._catalogue = prepare, encoder, catalogue
        self._pool, self._similarity, self._latent = pool, similarity, latent
        self._observers = observers or ObserverGroup()

    def by_image(self, data: bytes, options: SearchOptions) -> SearchResult[Row]:
        """Search with an uploaded image.

        Raises:
            ImageRejectedError: the bytes are not a usable image.
            InvalidInputError: `min_similarity` is set and the network is not calibrated.
        """
        self._require_calibration(options)
        with self._observers.operation("search") as work:
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
            return self._answer(index, among, *found, options, work)

    def _by_image(self, data: bytes, options: SearchOptions, work: Operation) -> SearchResult[Row]:
        with work.stage("decode"):
            prepared = self._prepare(data, crop=options.crop)
        encoding = self._encoder.encode_one(prepared.image)
        # Query the catalogue while the network encodes.
        with work.stage("catalogue"):
            index, among = self._catalogue.synced_index(), self._catalogue.filtered(options)
        with work.stage("encode"):
            encoded = encoding.result()
        answer = self._answer(index, among, encoded.codes[0], encoded.features[0], options, work)
        return replace(answer, warnings=tuple(warning.sentence for warning in prepared.warnings))

    def _answer(
        self,
        index: Index,
        among: Subset | None,
        code: Code,
        feature: Feature,
        options: SearchOptions,
        work: Operation,
    ) -> SearchResult[Row]:
        projections = None
        if self._latent is not None:
            with work.stage("encode"):
                projections = project(self._latent, index, feature)
                code = np.packbits(projections > 0)
        query = Query(index, among, code, feature, projections, options, self._pool, self._curve(options.mode))
        ranking = self._ranking(query, work)
        with work.stage("catalogue"):
            rows = self._catalogue.summaries([match.id for match in ranking.matches])
        found = [(match, rows[match.id]) for match in ranking.matches if match.id in rows]
        explanations = explain(query, ranking.candidates, found) if options.explain else []
        work.attributes.update(mode=options.mode.value, candidates=ranking.compared, matches=len(found))
        return SearchResult(
            code=code,
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


def project(latent: LatentLayer, index: Index, feature: Feature) -> Projections:
    """Compute W F7 + b `(bits,)` of F7 `(d,)` as the index stores it, so that an image and its upload agree exactly."""
    projections: Projections = latent.projections(index.as_stored(feature[None]))[0]
    return projections


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
