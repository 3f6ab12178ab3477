"""The files of a tar archive, plain or gzipped, read as a stream.

Python's own `tarfile` takes a damaged header for the end of an archive, and reads a header's extensions into memory
however long they claim to be. This reads less of the format, which is what tars of pictures use, and is exact.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from app.ingest.archive_members import ArchiveLimits, Counted, DamagedArchiveError, Member, Wanted, oversized, plain
from app.ingest.entries import text

BLOCK, STEP = 512, 1 << 20
# A name and what else a header's extension says; longer ones are nobody's. Of a longer name the end is kept, since
# names are remembered: it is still too long for a key.
_LONGEST_EXTENSION, _LONGEST_NAME = 1 << 20, 1024
_GZIP = b"\x1f\x8b"
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass(frozen=True)
class _Extension:
    """What stands before a header because it did not fit into it."""

    name: str | None = None
    size: int | None = None


def is_tar(path: Path) -> bool:
    """Tells whether a file begins as a tar archive does, plain or gzipped."""
    try:
        with _open(path) as stream:
            _header(stream)
    except (OSError, EOFError, zlib.error, tarfile.HeaderError):
        return False
    return True


def tar_members(path: Path, limits: ArchiveLimits, wanted: Wanted) -> Iterator[Member]:
    """Goes through the files of a tar archive, and reads those that are wanted.

    Raises:
        DamagedArchiveError: it cannot be read any further.
        ArchiveRefusedError: it holds more than the limits allow.
    """
    try:
        with _open(path) as stream:
            yield from _members(stream, Counted(limits), limits, wanted)
    except (OSError, EOFError, zlib.error, tarfile.HeaderError) as error:
        raise DamagedArchiveError(f"The archive is damaged ({error}); what comes after that is lost.") from error


def _open(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        packed = file.read(len(_GZIP)) == _GZIP
    return cast("BinaryIO", gzip.open(path)) if packed else path.open("rb")


def _members(stream: BinaryIO, counted: Counted, limits: ArchiveLimits, wanted: Wanted) -> Iterator[Member]:
    extension = _Extension()
    while (header := _header(stream)) is not None:
        size = header.size if extension.size is None else extension.size
        if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE):
            extension = _extension(stream, header, extension)
            continue
        counted.take(size)
        name = plain(text(extension.name or header.name))
        if header.type not in _FILES or not wanted(name):
            _skip(stream, size)
        elif size > limits.member_bytes:
            _skip(stream, size)
            yield Member(name, problem=oversized(limits.member_bytes))
        else:
            yield Member(name, _padded(stream, size))
        extension = _Extension()


def _header(stream: BinaryIO) -> tarfile.TarInfo | None:
    """Reads the next header; None where the archive ends."""
    block = _exactly(stream, BLOCK)
    if not any(block):
        return None
    header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if header.size < 0:
        raise tarfile.HeaderError("a size below zero")
    return header


def _extension(stream: BinaryIO, header: tarfile.TarInfo, before: _Extension) -> _Extension:
    if header.size > _LONGEST_EXTENSION:
        raise tarfile.HeaderError("a header of absurd length")
    words = _padded(stream, header.size)
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return _Extension(_name(words.rstrip(b"\0")), before.size)
    said = dict(_records(words))
    size = int(said["size"]) if said.get("size", b"").isdigit() else before.size
    return _Extension(_name(said["path"]) if "path" in said else before.name, size)


def _name(words: bytes) -> str:
    return os.fsdecode(words)[-_LONGEST_NAME:]


def _records(words: bytes) -> Iterator[tuple[str, bytes]]:
    """Reads the records of a POSIX extension: `LENGTH NAME=VALUE`, each with a line's end behind it."""
    while words:
        length, _, _ = words.partition(b" ")
        if not length.isdigit() or not len(length) < int(length) <= len(words):
            raise tarfile.HeaderError("an extension that cannot be read")
        name, _, value = words[len(length) + 1 : int(length) - 1].partition(b"=")
        yield name.decode(errors="replace"), value
        words = words[int(length) :]


def _padded(stream: BinaryIO, size: int) -> bytes:
    """Reads a file's bytes, and what fills its last block."""
    return _exactly(stream, size + -size % BLOCK)[:size]


def _skip(stream: BinaryIO, size: int) -> None:
    left = size + -size % BLOCK
    while left:
        left -= len(_exactly(stream, min(left, STEP)))


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("it ends too soon")
    return data
