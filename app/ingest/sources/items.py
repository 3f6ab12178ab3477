"""Entries of sources: images that are named by a folder, archive, table or file, and not read yet."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NoReturn, Protocol

from app.catalogue.metadata_patch import MetadataPatch
from app.common.json_values import validate_json
from app.common.unicode_names import nfc
from app.errors import LookalikeError
from models.data.image_files import IMAGE_SUFFIXES
from models.data.left_out import LeftOut

MAX_TEXT = 512


class UnusableError(LookalikeError):
    """An entry cannot be added; the message says why."""


@dataclass(frozen=True)
class Entry:
    """An image named by a source.

    Attributes:
        name: its name in messages.
        key: its key in the catalogue.
        given: its label and metadata.
        size: its size in bytes, as far as known before it is read.
        read: returns its bytes; raises OSError or UnusableError.
    """

    name: str
    key: str
    given: MetadataPatch
    size: int
    read: Callable[[], bytes]


class Source(Protocol):
    """A source of entries; may be iterated repeatedly, always in the same order."""

    @property
    def left_out(self) -> LeftOut:
        """What it leaves out; known once the entries are counted."""
        ...

    def count(self) -> int:
        """Number of entries, as far as known before they are read."""
        ...

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries, including unusable ones, which raise UnusableError when read."""
        ...


def unusable(name: str, reason: str, key: str | None = None) -> Entry:
    """Create an entry that raises UnusableError when read."""

    def read() -> NoReturn:
        raise UnusableError(reason)

    return Entry(name, key or name, {}, 0, read)


def file_entry(path: Path, name: str, key: str, given: MetadataPatch, limit: int) -> Entry:
    """Create an entry of a file; it is rejected if it is larger than `limit` bytes."""
    try:
        size = path.stat().st_size
    except OSError as error:
        return unusable(name, describe_error(error), key)
    if not path.is_file():
        return unusable(name, "Not a regular file.", key)
    return Entry(name, key, given, size, lambda: _read(path, limit))


def too_large(limit: int) -> UnusableError:
    """Create the error for a file that is too large."""
    return UnusableError(f"The file is larger than {limit:,} bytes, the maximum for an image.")


def nothing_found(left_out: LeftOut) -> str:
    """The error for sources without entries: what they hold instead."""
    found = "; ".join(left_out.lines()) or "There are no files"
    return f"Nothing to index. {found}. Names of images end in {', '.join(sorted(IMAGE_SUFFIXES))}."


def folder_label(path: str) -> MetadataPatch:
    """The name of a file's folder as its label; nothing at the top level."""
    folders = PurePosixPath(path).parts[:-1]
    return {"label": folders[-1]} if folders else {}


def text(name: str) -> str:
    """A file's name with invalid UTF-8 replaced, which the database would reject."""
    return os.fsencode(name).decode(errors="replace")


def require_storable(entry: Entry) -> None:
    """Check that the catalogue can store an entry's key, label and metadata.

    Raises:
        UnusableError: it cannot.
    """
    for field, value in (("key", entry.key), ("label", entry.given.get("label") or "")):
        if len(nfc(value)) > MAX_TEXT:
            raise UnusableError(f"The {field} is longer than {MAX_TEXT} characters.")
    for field, part in (("key", entry.key), ("label", entry.given.get("label")), ("metadata", dict(entry.given))):
        try:
            validate_json(part)
        except ValueError as error:
            raise UnusableError(f"The {field} cannot be stored: {error}.") from error


def describe_error(error: Exception) -> str:
    """Describe an error on reading a file."""
    if isinstance(error, FileNotFoundError):
        return "The file does not exist."
    if isinstance(error, OSError) and error.strerror:
        return f"The file cannot be read: {error.strerror}."
    return str(error)


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise too_large(limit)
    return data
