"""`lookalike delete`: delete images by key, label, filter or table, in this process or through a service."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from app.cli.terminal import confirmed, console, exit_on_error, fail, notice, progress_bar
from app.common.json_values import is_storable
from app.common.unicode_names import nfc
from app.settings import Settings

if TYPE_CHECKING:
    from lookalike_client import Lookalike

    from app.bootstrap import Service

T = TypeVar("T")
# Images deleted between two updates of the progress bar; ids or keys looked up at a time.
_STEP, _BATCH = 20, 1000
# Maximum number of keys that a message lists.
_MAX_LISTED = 5


class Catalogue(Protocol):
    """A catalogue whose images can be selected and deleted."""

    def total(self) -> int:
        """Return the number of images."""
        ...

    def with_keys(self, keys: Iterable[str]) -> dict[str, int]:
        """Return ids by key; unknown keys are left out."""
        ...

    def matching(self, label: str | None, filter_: str | None) -> list[int]:
        """Return the ids of the images with a label that pass a filter, given as JSON."""
        ...

    def delete(self, ids: Sequence[int]) -> int:
        """Delete images; returns how many were there."""
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
        for batch in _batches(keys, _BATCH):
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

    def delete(self, ids: Sequence[int]) -> int:
        """Delete images; returns how many were there."""
        from app.errors import NotFoundError

        deleted = 0
        for image_id in ids:
            # Another process may have deleted it meanwhile.
            with suppress(NotFoundError):
                self.service.ingest.delete(image_id)
                deleted += 1
        return deleted


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
        wanted = None if filter_ is None else _filter_object(filter_)
        return [image.id for image in self.client.list(label=label, filter=wanted)]

    def delete(self, ids: Sequence[int]) -> int:
        """Delete images; returns how many were there."""
        return self.client.delete_many(ids)


def delete(
    keys: Annotated[list[str] | None, typer.Argument(help="Keys of the images to delete.", show_default=False)] = None,
    label: Annotated[str | None, typer.Option(help="Delete the images with this label.")] = None,
    filter_: Annotated[
        str | None,
        typer.Option("--filter", help='Delete the images that pass a filter, such as `{"price": {"$lt": 5}}`.'),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Delete the images that a table (.csv, .jsonl) names by its column `key`, or else `file`."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Address of a running service to delete from instead of the data folder.")
    ] = None,
    api_key: Annotated[
        str | None, typer.Option(help="Its API key. Prefer LOOKALIKE_API_KEY, which process lists do not show.")
    ] = None,
) -> None:
    """Delete images from the catalogue, after asking. Services may run meanwhile.

    `--label` and `--filter` together select the images that meet both. The exit status is 1 if nothing was deleted, or
    a key is not in the catalogue.
    """
    with exit_on_error():
        from app.cli.images.connection import require_url

        settings = Settings()
        require_url(url or settings.url)
        chosen = [bool(keys), label is not None or filter_ is not None, table is not None]
        if sum(chosen) != 1:
            fail("Name what to delete: keys, or --label and --filter, or --table. Give one of these kinds.")
        if label is None and filter_ is not None and not _filter_object(filter_):
            fail("Nothing was deleted: --filter {} selects every image. Name a condition.")
        if label is not None and not is_storable(label):
            fail("Nothing was deleted: no image matches.")
        # None selects by label and filter; an empty list, such as the keys of an empty table, selects nothing.
        wanted = _table_keys(table) if table is not None else keys or None
        with _catalogue(settings, url or settings.url, api_key or settings.api_key) as catalogue:
            ids, missing = (catalogue.matching(label, filter_), []) if wanted is None else _find_keys(catalogue, wanted)
            _report_missing(missing)
            if not ids:
                fail("Nothing was deleted: no image matches.")
            if not yes and not confirmed(f"Delete {_images(len(ids))} of {catalogue.total():,}?"):
                fail("Nothing was deleted. Pass --yes to delete without being asked.")
            deleted = _delete(catalogue, ids)
        console().print(f"{_images(deleted)} deleted.")
        if missing and table is None:
            raise typer.Exit(1)


def _find_keys(catalogue: Catalogue, keys: Iterable[str]) -> tuple[list[int], list[str]]:
    """Return the ids of images by key, and the keys that are not in the catalogue."""
    wanted = list(dict.fromkeys(map(nfc, keys)))  # as the catalogue stores them
    found = catalogue.with_keys(filter(is_storable, wanted))
    return list(found.values()), [key for key in wanted if key not in found]


def _delete(catalogue: Catalogue, ids: Sequence[int]) -> int:
    deleted = 0
    with progress_bar() as bar:
        task = bar.add_task("deleting", total=len(ids))
        for step in _batches(ids, _STEP):
            deleted += catalogue.delete(step)
            bar.advance(task, len(step))
    return deleted


@contextmanager
def _catalogue(settings: Settings, url: str | None, key: str | None) -> Iterator[Catalogue]:
    if url is not None:
        from app.cli.images.connection import connect

        with connect(url, key) as client:
            yield RemoteCatalogue(client)
        return
    from app.bootstrap import open_service

    with open_service(settings) as service:
        yield LocalCatalogue(service)


def _table_keys(path: Path) -> list[str]:
    from app.ingest.sources.table import SUFFIXES
    from app.ingest.sources.table_source import TableSource

    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        fail(f"{path} is not a table. Give the path of a .csv or .jsonl file.")
    return list(TableSource(path, limit=0).keys())


def _filter_object(text: str) -> dict[str, object]:
    try:
        wanted = json.loads(text)
    except (ValueError, RecursionError) as error:
        fail(f"--filter: not valid JSON: {error}.")
    if not isinstance(wanted, dict):
        fail('--filter: not a JSON object, such as {"price": {"$lt": 5}}.')
    return dict(wanted)


def _report_missing(missing: Sequence[str]) -> None:
    if missing:
        listed = ", ".join(missing[:_MAX_LISTED]) + (", …" if len(missing) > _MAX_LISTED else "")
        are = "key is" if len(missing) == 1 else "keys are"
        notice(f"{len(missing):,} {are} not in the catalogue: {listed}")


def _images(count: int) -> str:
    return f"{count:,} {'image' if count == 1 else 'images'}"


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
