"""Catalogues that commands change: one that this process opens, or that of a running service."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from app.catalogue.metadata_patch import MetadataPatch
from app.cli.images.selection import batches, filter_object, report_missing
from app.common.json_values import is_storable
from app.common.unicode_names import nfc
from app.settings import Settings

if TYPE_CHECKING:
    from lookalike_client import Lookalike

    from app.bootstrap import Service

# Options of commands that use `open_catalogue`.
Url = Annotated[str | None, typer.Option(help="Address of a running service to use instead of the data folder.")]
Key = Annotated[
    str | None, typer.Option(help="Its API key. Prefer LOOKALIKE_API_KEY, which process lists do not show.")
]
# Ids or keys looked up at a time.
_BATCH = 1000


@dataclass(frozen=True)
class Trashed:
    """A deleted image, as `lookalike trash list` shows it."""

    id: int
    key: str
    label: str | None
    deletion_id: int
    expires_at: str


class Catalogue(Protocol):
    """A catalogue whose images can be selected, changed, deleted and restored."""

    def total(self) -> int:
        """Return the number of images."""
        ...

    def with_keys(self, keys: Iterable[str]) -> dict[str, int]:
        """Return ids by key; unknown keys are left out."""
        ...

    def matching(self, label: str | None, filter_: str | None) -> list[int]:
        """Return the ids of the images with a label that pass a filter, given as JSON."""
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


@dataclass(frozen=True)
class LocalCatalogue:
    """A catalogue that this process opened."""

    service: "Service"

    def total(self) -> int:
        """Return the number of images."""
        from app.catalogue import queries

        with self.service.database.read_session() as session:
            return queries.totals(session).images

    def with_keys(self, keys: Iterable[str]) -> dict[str, int]:
        """Return ids by key; unknown keys are left out."""
        from app.catalogue import queries

        found: dict[str, int] = {}
        for batch in batches(keys, _BATCH):
            with self.service.database.read_session() as session:
                found |= queries.ids_by_key(session, batch)
        return found

    def matching(self, label: str | None, filter_: str | None) -> list[int]:
        """Return the ids of the images with a label that pass a filter, given as JSON."""
        from app.catalogue import queries
        from app.catalogue.filters.sql import filter_condition
        from app.search.filter import parse_filter

        passing = filter_condition(label, None if filter_ is None else parse_filter(filter_))
        ids: list[int] = []
        while True:
            with self.service.database.scan_session() as session:
                more = queries.ids_after(session, ids[-1] if ids else 0, _BATCH, passing)
            ids += more
            if len(more) < _BATCH:
                return ids

    def update(self, ids: Sequence[int], changes: MetadataPatch) -> int:
        """Set the label and metadata of images; return how many were not so already."""
        from app.catalogue.selection import Selection

        return self.service.ingest.update_many(Selection(ids=ids), len(ids), changes)

    def delete(self, ids: Sequence[int]) -> int | None:
        """Delete images; return the id by which the deletion can be undone, if it can."""
        from app.catalogue.selection import Selection

        return self.service.trash.delete(Selection(ids=ids), len(ids)).deletion_id

    def trash(self, deletion_id: int | None) -> Iterator[Trashed]:
        """Yield the deleted images, or those of one deletion, the last deleted first."""
        from app.catalogue import trash

        days, after, rows = self.service.settings.trash_days, None, [(0, 0, 0)]
        which = trash.TrashSelection(days, deletion_id=deletion_id)
        while rows:
            with self.service.database.read_session() as session:
                rows = trash.sizes_after(session, which, after, _BATCH)
                found = trash.trashed_images(session, [image_id for _, image_id, _ in rows])
            for image in found:
                until = f"{trash.expires_at(image, days):%Y-%m-%d %H:%M}"
                yield Trashed(image.image_id, image.key, image.label, image.deletion_id, until)
            after = rows[-1][:2] if rows else None

    def restore(self, ids: Sequence[int] | None, deletion_id: int | None, *, skip_used_keys: bool) -> tuple[int, int]:
        """Restore images; return the numbers of those restored and of those skipped."""
        from app.catalogue.trash import TrashSelection

        which = TrashSelection(self.service.settings.trash_days, ids, deletion_id)
        restored = self.service.trash.restore(which, skip_used_keys=skip_used_keys)
        return restored.images, restored.skipped

    def empty_trash(self) -> int:
        """Delete all images in the trash for good; return their number."""
        return self.service.trash.empty()


@dataclass(frozen=True)
class RemoteCatalogue:
    """The catalogue of a running service."""

    client: "Lookalike"

    def total(self) -> int:
        """Return the number of images."""
        return self.client.stats().images

    def with_keys(self, keys: Iterable[str]) -> dict[str, int]:
        """Return ids by key; unknown keys are left out."""
        return {image.key: image.id for image in self.client.find(keys)}

    def matching(self, label: str | None, filter_: str | None) -> list[int]:
        """Return the ids of the images with a label that pass a filter, given as JSON."""
        wanted = None if filter_ is None else filter_object(filter_)
        return [image.id for image in self.client.list(label=label, filter=wanted)]

    def update(self, ids: Sequence[int], changes: MetadataPatch) -> int:
        """Set the label and metadata of images; return how many were not so already."""
        from lookalike_client import UNCHANGED

        label, metadata = changes.get("label", UNCHANGED), changes.get("metadata")
        return self.client.update_images(len(ids), ids=ids, set_label=label, metadata=metadata)

    def delete(self, ids: Sequence[int]) -> int | None:
        """Delete images; return the id by which the deletion can be undone, if it can."""
        return self.client.delete_images(len(ids), ids=ids).deletion_id

    def trash(self, deletion_id: int | None) -> Iterator[Trashed]:
        """Yield the deleted images, or those of one deletion, the last deleted first."""
        cursor: str | None = None
        while True:
            page = self.client.trash_page(cursor=cursor, deletion_id=deletion_id)
            for image in page.items:
                until = f"{image.expires_at:%Y-%m-%d %H:%M}"
                yield Trashed(image.id, image.key, image.label, image.deletion_id, until)
            cursor = page.next_cursor
            if cursor is None:
                return

    def restore(self, ids: Sequence[int] | None, deletion_id: int | None, *, skip_used_keys: bool) -> tuple[int, int]:
        """Restore images; return the numbers of those restored and of those skipped."""
        restored = self.client.restore_images(ids=ids, deletion_id=deletion_id, skip_used_keys=skip_used_keys)
        return restored.restored, restored.skipped

    def empty_trash(self) -> int:
        """Delete all images in the trash for good; return their number."""
        return self.client.empty_trash()


@contextmanager
def open_catalogue(settings: Settings, url: str | None, key: str | None) -> Iterator[Catalogue]:
    """Open the catalogue of the data folder, or that of a service if there is an address."""
    from app.cli.images.connection import connect, require_url

    url, key = url or settings.url, key or settings.api_key
    require_url(url)
    if url is not None:
        with connect(url, key) as client:
            yield RemoteCatalogue(client)
        return
    from app.bootstrap import open_service

    with open_service(settings) as service:
        yield LocalCatalogue(service)


def find(
    catalogue: Catalogue, keys: Iterable[str] | None, label: str | None, filter_: str | None
) -> tuple[list[int], list[str]]:
    """Return the ids of images by key, or by label and filter, and the keys that are not in the catalogue."""
    if keys is None:
        return catalogue.matching(label, filter_), []
    wanted = list(dict.fromkeys(map(nfc, keys)))  # as the catalogue stores them
    found = catalogue.with_keys(filter(is_storable, wanted))
    missing = [key for key in wanted if key not in found]
    report_missing(missing)
    return list(found.values()), missing
