"""`lookalike export`: write key, label and metadata of images to a table."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated, Literal

import typer

from app.cli.images.catalogues import Key, Url
from app.cli.images.selection import filter_object
from app.cli.terminal import exit_on_error, fail, notice
from app.settings import Settings

_FORMATS: dict[str, Literal["csv", "jsonl"]] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


def export(
    file: Annotated[
        Path, typer.Argument(help="Table to write: .csv for spreadsheets, or .jsonl, which keeps all types.")
    ],
    label: Annotated[str | None, typer.Option(help="Only images with this label.")] = None,
    filter_: Annotated[
        str | None, typer.Option("--filter", help='Only images that pass a filter, such as `{"price": {"$lt": 5}}`.')
    ] = None,
    text: Annotated[str | None, typer.Option(help="Only images with these words in key, label or metadata.")] = None,
    url: Url = None,
    api_key: Key = None,
) -> None:
    """Write key, label and metadata of all images, or of some, to a table, from one snapshot.

    `lookalike index FILE FOLDER` reads it again.
    """
    with exit_on_error():
        kind, settings = _FORMATS.get(file.suffix.lower()), Settings()
        if kind is None:
            fail(f"{file} is not the name of a table. Use one that ends in .csv or .jsonl.")
        wanted = None if filter_ is None else filter_object(filter_)
        address = url or settings.url
        with _replacing(file) as out:
            if address is not None:
                from app.cli.images.connection import connect

                with connect(address, api_key or settings.api_key) as client:
                    out.write(client.export(format=kind, label=label, filter=wanted, text=text))
            else:
                _export(settings, kind, label, filter_, text, out)
        notice(f"{file} written.")


def _export(
    settings: Settings, kind: str, label: str | None, filter_: str | None, text: str | None, out: IO[bytes]
) -> None:
    from app.bootstrap import open_database
    from app.catalogue.selection import Selection
    from app.maintenance.export import ExportFormat
    from app.maintenance.export import export as export_table
    from app.search.filter import parse_filter
    from app.search.words import parse_text

    passing, words = None if filter_ is None else parse_filter(filter_), None if text is None else parse_text(text)
    selection = Selection(label=label, filter=passing, words=words)
    with open_database(settings) as database:
        for part in export_table(database, selection, ExportFormat(kind)):
            out.write(part.encode())


@contextmanager
def _replacing(file: Path) -> Iterator[IO[bytes]]:
    """Open a file beside `file` that replaces it once the block has succeeded."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as out:
            yield out
        temporary.replace(file)
    except OSError as error:
        fail(f"{file} cannot be written: {error.strerror}.")
    finally:
        temporary.unlink(missing_ok=True)
