"""What the service answers, as frozen dataclasses. Fields that this version does not know are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Metadata = Mapping[str, Any]


@dataclass(frozen=True)
class Explanation:
    """Why a match is where it is.

    Attributes:
        coarse_rank: its place by code alone, from 1; None for `es`, which reads no codes.
        code: its binary code, hexadecimal.
        bits: which bits differ from the query's.
    """

    coarse_rank: int | None
    code: str
    bits: tuple[int, ...]


@dataclass(frozen=True)
class Match:
    """One picture that was found; `similarity`, from 0 to 1, is None where the network was not calibrated."""

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


@dataclass(frozen=True)
class Answer:
    """What a search found, the nearest first."""

    model: str
    code: str
    mode: str
    pool_size: int
    catalogue_size: int
    results: tuple[Match, ...]
    timings_ms: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def matches(self) -> Sequence[Match]:
        """The pictures that were found."""
        return self.results


@dataclass(frozen=True)
class BatchItem:
    """What one of several queries found, or why its picture cannot be used."""

    answer: Answer | None = None
    error: str | None = None


@dataclass(frozen=True)
class Searched:
    """What each of several queries found, in their order."""

    items: tuple[BatchItem, ...]


@dataclass(frozen=True)
class Added:
    """What became of a picture that was added; `error` says why it was rejected."""

    id: int | None
    key: str
    status: Literal["created", "updated", "unchanged", "rejected"]
    error: str | None = None


@dataclass(frozen=True)
class Indexed:
    """What became of each picture, in their order."""

    items: tuple[Added, ...]


@dataclass(frozen=True)
class Picture:
    """A picture of the catalogue."""

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
class Page:
    """Some pictures; `next_cursor` leads to the next ones and is None on the last page."""

    items: tuple[Picture, ...]
    next_cursor: str | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """A value, and how many pictures have it."""

    value: bool | float | str
    pictures: int


@dataclass(frozen=True)
class Field:
    """A field of the metadata; `least` and `most` are those of numbers."""

    name: str
    kind: str
    pictures: int
    values: tuple[Count, ...]
    distinct: int
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Facets:
    """What can be filtered by, the most frequent first."""

    labels: tuple[Count, ...]
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Network:
    """The network in use."""

    name: str
    fingerprint: str
    backbone: str
    bits: int
    feature_dim: int
    feature_norm: str


@dataclass(frozen=True)
class Stats:
    """The catalogue in numbers."""

    images: int
    labels: int
    model: Network
    seq: int
    applied_seq: int
    bytes: Mapping[str, int]
    version: str


@dataclass(frozen=True)
class Rejection:
    """An entry of a job's archive that could not be used."""

    name: str
    key: str
    reason: str


@dataclass(frozen=True)
class Job:
    """An archive on its way into the catalogue.

    Attributes:
        total: how many entries there are; None until they are counted.
        done: how many of them are settled.
        error: why it failed, or what it waits for.
        attempts: how often in a row it was taken up without getting further.
        rejections: the first entries that could not be used; only where one job is asked for.
    """

    id: int
    state: Literal["running", "done", "failed", "cancelled"]
    bytes: int
    total: int | None
    done: int
    created: int
    updated: int
    unchanged: int
    rejected: int
    created_at: datetime
    updated_at: datetime
    error: str | None = None
    attempts: int = 0
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True)
class Jobs:
    """Some jobs, the latest first; `next_cursor` leads to earlier ones and is None on the last page."""

    items: tuple[Job, ...]
    next_cursor: str | None
