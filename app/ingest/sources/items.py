"""What a source names as a picture, before anybody has read it. Sources: a folder, an archive, a table, a file."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NoReturn, Protocol

from app.common.json_values import check_json
from app.errors import LookalikeError

if TYPE_CHECKING:
    from app.catalogue.changes import Given

# Names of what else lies between people's pictures are passed over without a word.
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".avif", ".heic", ".heif"}
LONGEST = 512


class UnusableError(LookalikeError):
    """Something that a source names cannot be added, for a reason that its text says."""


@dataclass(frozen=True)
class Entry:
    """Something that a source names as a picture.

    Attributes:
        name: what its owner knows it by.
        key: its key in the catalogue.
        given: what is said of it.
        size: its bytes, as far as they are known before it is read.
        read: returns its bytes; raises OSError or UnusableError where it cannot.
    """

    name: str
    key: str
    given: "Given"
    size: int
    read: Callable[[], bytes]


class Source(Protocol):
    """Where pictures come from; may be gone through more than once, in the same order each time."""

    def count(self) -> int:
        """Returns how many entries there are, as far as can be told before they are read."""
        ...

    def __iter__(self) -> Iterator[Entry]:
        """Goes through the entries. Those that are known to be of no use are among them, and say so when read."""
        ...


def unusable(name: str, reason: str, key: str | None = None) -> Entry:
    """Returns an entry that says why it cannot be used."""

    def read() -> NoReturn:
        raise UnusableError(reason)

    return Entry(name, key or name, {}, 0, read)


def file_entry(path: Path, name: str, key: str, given: "Given", limit: int) -> Entry:
    """Returns a file as an entry that is not read past a limit of bytes."""
    try:
        size = path.stat().st_size
    except OSError as error:
        return unusable(name, sentence(error), key)
    if not path.is_file():
        return unusable(name, "This is not a file.", key)
    return Entry(name, key, given, size, lambda: _read(path, limit))


def too_large(limit: int) -> UnusableError:
    """Returns the refusal of a file that is larger than any picture may be."""
    return UnusableError(f"The file has more than {limit:,} bytes, the most that a picture may have.")


def is_picture(name: str) -> bool:
    """Tells by a file's name whether it may be a picture."""
    path = PurePosixPath(name)
    # What a Mac puts beside every file is none, whatever its name ends with.
    return path.suffix.lower() in SUFFIXES and not path.name.startswith("._")


def labelled(path: str) -> "Given":
    """Returns the name of a file's folder as its label, if it lies in one."""
    folders = PurePosixPath(path).parts[:-1]
    return {"label": folders[-1]} if folders else {}


def text(name: str) -> str:
    """Returns a file's name with the bytes replaced that are not UTF-8, which the database would refuse."""
    return os.fsencode(name).decode(errors="replace")


def check(entry: Entry) -> None:
    """Makes sure that the catalogue can keep what is said of an entry.

    Raises:
        UnusableError: it cannot.
    """
    for what, words in (("key", entry.key), ("label", entry.given.get("label") or "")):
        if len(words) > LONGEST:
            raise UnusableError(f"Its {what} is longer than {LONGEST} characters.")
    try:
        check_json([entry.key, dict(entry.given)])
    except ValueError as error:
        raise UnusableError(f"What is said of it cannot be kept: {error}.") from error


def sentence(error: Exception) -> str:
    """Says what went wrong with a file."""
    if isinstance(error, FileNotFoundError):
        return "There is no such file."
    if isinstance(error, OSError) and error.strerror:
        return f"It cannot be read: {error.strerror}."
    return str(error)


def _read(path: Path, limit: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise too_large(limit)
    return data
