"""Catalogues that commands change: one that this process opens, or that of a running service."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import typer

from app.catalogue.metadata_patch import MetadataPatch
from app.cli.images.selection import Conditions, report_missing
from app.cli.terminal import fail
from app.common.json_values import is_storable
from app.common.unicode_names import nfc

# Options of commands that use `open_catalogue`.
Url = Annotated[str | None, typer.Option(help="Address of a running service to use instead of the data folder.")]
Key = Annotated[
    str | None, typer.Option(help="Its API key. Prefer LOOKALIKE_API_KEY, which process lists do not show.")
]


@dataclass(frozen=True)
class Trashed:
    """A deleted image, as `lookalike trash list` shows it."""

    id: int
    key: str
    label: str | None
    deletion_id: int
    expires_at: str


@dataclass(frozen=True)
class DuplicateKeys:
    """A group of duplicates: the key of the oldest image, and the keys of the others with their distances to it."""

    oldest: str
    others: list[tuple[str, float]]
    complete: bool


@dataclass(frozen=True)
class Merged:
    """What an image took over from its duplicates, and the id by which their deletion can be undone, if it can."""

    label: str | None
    metadata: Mapping[str, Any]
    deletion_id: int | None


class Catalogue(Protocol):
    """A catalogue whose images can be selected, compared, changed, deleted and restored."""

    def total(self) -> int:
        """Return the number of images."""
        ...

    def with_keys(self, keys: Iterable[str]) -> dict[str, int]:
        """Return ids by key; unknown keys are left out."""
        ...

    def matching(self, conditions: Conditions) -> list[int]:
        """Return the ids of the images that meet all conditions."""
        ...

    def update(self, ids: Sequence[int], changes: MetadataPatch) -> int:
        """Set the label and metadata of images; return how many were not so already."""
        ...

    def delete(self, ids: Sequence[int]) -> int | None:
        """Delete images; return the id by which the deletion can be undone, if it can."""
        ...

    def trash(self, deletion_id: int | None) -> Iterator[Trashed]:
        """Yield the deleted images, or those of one deletion, the last deleted first."""
        ...

    def restore(self, ids: Sequence[int] | None, deletion_id: int | None, *, skip_used_keys: bool) -> tuple[int, int]:
        """Restore images; return the numbers of those restored and of those skipped."""
        ...

    def empty_trash(self) -> int:
        """Delete all images in the trash for good; return their number."""
        ...

    def duplicates(self, near: bool, max_distance: float | None) -> Iterator[tuple[int, list[DuplicateKeys]]]:
        """Compare the catalogue batch by batch; yield the number of images of a batch, and its groups of duplicates."""
        ...

    def mark_distinct(self, ids: Sequence[int], *, undo: bool) -> int:
        """Remember that no two of some images are duplicates, or forget it; return the number of pairs."""
        ...

    def merge(self, keep: int, others: Sequence[int]) -> Merged:
        """Keep one image, give it the label and metadata that only the others have, and delete the others."""
        ...


def find(catalogue: Catalogue, keys: Iterable[str] | None, conditions: Conditions) -> tuple[list[int], list[str]]:
    """Return the ids of images by key, or by conditions, and the keys that are not in the catalogue."""
    if keys is None:
        return catalogue.matching(conditions), []
    wanted = list(dict.fromkeys(map(nfc, keys)))  # as the catalogue stores them
    found = catalogue.with_keys(filter(is_storable, wanted))
    missing = [key for key in wanted if key not in found]
    report_missing(missing)
    return list(found.values()), missing


def find_all(catalogue: Catalogue, keys: Iterable[str]) -> list[int]:
    """Return the ids of images by key, in this order, each once; exit with an error if one does not exist."""
    wanted = list(dict.fromkeys(map(nfc, keys)))
    found = catalogue.with_keys(filter(is_storable, wanted))
    if missing := [key for key in wanted if key not in found]:
        fail(f"Not in the catalogue: {', '.join(missing)}. Nothing was changed.")
    return [found[key] for key in wanted]
