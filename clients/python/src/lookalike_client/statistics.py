"""Statistics of a catalogue, as the service reports them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelInfo:
    """The active model.

    Attributes:
        pool: number of candidates of a search without `pool`.
        adapted: whether the codes were fitted to the catalogue.
    """

    name: str
    fingerprint: str
    backbone: str
    bits: int
    feature_dim: int
    feature_norm: str
    pool: int | None = None
    adapted: bool = False


@dataclass(frozen=True)
class BetterModel:
    """A shipped model that replaces the active one: what it gains, the command that moves to it, and its time."""

    name: str
    gain: str
    command: str
    estimated_seconds: int


@dataclass(frozen=True)
class CodeQuality:
    """How well codes find the exact nearest neighbours.

    Attributes:
        bits: length of a code.
        codes: share of the ten exact nearest neighbours that the ten nearest codes are.
        pool: number of candidates.
        recall: share of the ten exact nearest neighbours that the pool holds.
        precision: share of the ten nearest codes that have the query's label; None without labels.
    """

    bits: int
    codes: float
    pool: int
    recall: float
    precision: float | None = None


@dataclass(frozen=True)
class Adaptation:
    """The last time that codes were fitted to the catalogue: whether they are used, and what was measured."""

    outcome: str
    images: int
    before: CodeQuality
    after: CodeQuality
    seconds: float


@dataclass(frozen=True)
class Stats:
    """The catalogue's statistics.

    Attributes:
        adaptation: the last time that codes were fitted to the catalogue.
        seq: the number of the catalogue's last change.
        applied_seq: the number of the last change in the index of the process that answered.
        bytes: bytes on disk, by kind.
        version: the service's version.
        better_model: a shipped model that replaces the active one, if there is one.
    """

    images: int
    labels: int
    model: ModelInfo
    seq: int
    applied_seq: int
    bytes: Mapping[str, int]
    version: str
    better_model: BetterModel | None = None
    adaptation: Adaptation | None = None
