"""Results of the API's calls, as frozen dataclasses. Unknown fields are ignored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Metadata = Mapping[str, Any]


@dataclass(frozen=True)
class Explanation:
    """Explanation of a match's rank.

    Attributes:
        coarse_rank: its rank by code alone, from 1; None in mode `es`, which uses no codes.
        code: its binary code, hexadecimal.
        differing_bits: positions of the bits that differ from the query's.
    """

    coarse_rank: int | None
    code: str
    differing_bits: tuple[int, ...]


@dataclass(frozen=True)
class Match:
    """An image found by a search.

    Attributes:
        distance: the L2 distance of F7, by which matches are ranked; in mode `bcs` the Hamming distance, by which they
            are not ranked in asymmetric order.
        hamming: the Hamming distance of the codes.
        similarity: from 0 to 1; None if the model is not calibrated.
        similarity_band: the range of `similarity`: "very similar", "similar", "loosely related" or "unrelated".
    """

    id: int
    key: str
    distance: float
    hamming: int
    similarity: float | None
    label: str | None
    metadata: Metadata
    image_url: str
    thumbnail_url: str
    explanation: Explanation | None = None
    similarity_band: str | None = None


@dataclass(frozen=True)
class SearchResult:
    """The matches of a search, nearest first, with details of the search.

    Attributes:
        model_fingerprint: the fingerprint of the model.
        code: the query's binary code, hexadecimal.
        mode: `hds`, `bcs` or `es`.
        pool_size: the number of candidates that were ranked.
        catalogue_size: the number of images searched.
        timings_ms: milliseconds of each stage.
        warnings: flaws of the query's file, and unknown names in the filter.
        group_limit_reached: with `group_by`: whether there may be more groups than were found.
        asymmetric: whether candidates were in asymmetric order.
    """

    model_fingerprint: str
    code: str
    mode: str
    pool_size: int
    catalogue_size: int
    results: tuple[Match, ...]
    timings_ms: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    group_limit_reached: bool = False
    asymmetric: bool = False

    @property
    def matches(self) -> Sequence[Match]:
        """The matches, nearest first; the same as `results`."""
        return self.results


@dataclass(frozen=True)
class BatchItem:
    """The result of one query of a batch; `error_code` and `error` if its image cannot be used."""

    response: SearchResult | None = None
    error: str | None = None
    error_code: str | None = None


@dataclass(frozen=True)
class BatchSearchResult:
    """The results of several queries, in their order."""

    items: tuple[BatchItem, ...]


@dataclass(frozen=True)
class AddResult:
    """The result of adding an image.

    Attributes:
        error: the reason of a rejection, for people.
        error_code: its stable code.
        warnings: flaws of a file that was added all the same.
        duplicate_of: if it was created or skipped, the key of another image with the same bytes.
    """

    id: int | None
    key: str
    status: Literal["created", "updated", "unchanged", "rejected", "skipped"]
    error: str | None = None
    error_code: str | None = None
    warnings: tuple[str, ...] = ()
    duplicate_of: str | None = None


@dataclass(frozen=True)
class AddResults:
    """The results of adding images, in their order."""

    items: tuple[AddResult, ...]


@dataclass(frozen=True)
class CatalogueImage:
    """The record of an image in the catalogue."""

    id: int
    key: str
    label: str | None
    metadata: Metadata
    media_type: str
    width: int
    height: int
    size_bytes: int
    created_at: datetime
    updated_at: datetime
    image_url: str
    thumbnail_url: str


@dataclass(frozen=True)
class ImagePage:
    """One page of images.

    Attributes:
        next_cursor: the cursor of the next page; None on the last one.
        total: on the first page, the number of images on all pages; None on later ones.
    """

    items: tuple[CatalogueImage, ...]
    next_cursor: str | None
    total: int | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FacetValue:
    """A value, and the number of images that have it."""

    value: bool | int | float | str
    count: int


@dataclass(frozen=True)
class FacetField:
    """A metadata field, and its most frequent values.

    Attributes:
        type: the type of its values.
        count: the number of images that have the field.
        distinct: the number of distinct values.
        min: the smallest number; None for other types.
        max: the largest number; None for other types.
    """

    name: str
    type: str
    count: int
    values: tuple[FacetValue, ...]
    distinct: int
    min: int | float | None = None
    max: int | float | None = None


@dataclass(frozen=True)
class Facets:
    """Labels and metadata fields to filter by, the most frequent first."""

    labels: tuple[FacetValue, ...]
    fields: tuple[FacetField, ...]


@dataclass(frozen=True)
class Rejection:
    """An entry of a job's archive that could not be added."""

    name: str
    key: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """Files of a job's archive that are left out for one reason: their number, and the first names."""

    count: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class EntryWarning:
    """An entry of a job's archive that was added although its file has a flaw."""

    name: str
    key: str
    warning: str


@dataclass(frozen=True)
class Job:
    """A background job that adds the images of an archive.

    Attributes:
        total: the number of entries; None until they are counted.
        processed: the number of entries processed.
        error: the reason of a failure, or what the job waits for.
        attempts: number of consecutive attempts without progress.
        left_out: what the archive holds besides its entries: number and first names, by reason.
        skipped: entries that were not added because the catalogue has their bytes under another key.
        duplicates: created images whose bytes the catalogue had under another key already.
        rejections: the first entries that could not be added; only in the result of `get_job`.
        warnings: the first entries that were added although their files have a flaw; only in that result.
    """

    id: int
    state: Literal["running", "done", "failed", "cancelled"]
    size_bytes: int
    total: int | None
    processed: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    created_at: datetime
    updated_at: datetime
    error: str | None = None
    attempts: int = 0
    left_out: Mapping[str, LeftOut] = field(default_factory=dict)
    skipped: int = 0
    duplicates: int = 0
    rejections: tuple[Rejection, ...] = ()
    warnings: tuple[EntryWarning, ...] = ()


@dataclass(frozen=True)
class JobPage:
    """One page of jobs, the latest first; `next_cursor` is the cursor of the next page, and None on the last one."""

    items: tuple[Job, ...]
    next_cursor: str | None
