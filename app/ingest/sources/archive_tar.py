"""The files of a tar archive, plain or gzipped, read as a stream.

Python's own `tarfile` takes a damaged header for the end of an archive, and reads a header's extensions into memory
however long they claim to be. This reads less of the format, which is what tars of pictures use, and is exact.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from app.ingest.sources.archive_members import ArchiveLimits, Counted, DamagedArchiveError, Member, oversized, plain
from app.ingest.sources.items import UnusableError, text

BLOCK, STEP = 512, 1 << 20
# Extensions of one header: how many, and their bytes together. Archivers write one or two, of a few hundred bytes.
_MOST_EXTENSIONS, _EXTENSION_BYTES = 16, 1 << 20
# Python refuses to convert thousands of digits; no size or length has so many.
_MOST_DIGITS = 20
_GZIP = b"\x1f\x8b"
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE)


@dataclass(frozen=True)
class _Extension:
    """What stands before a header because it did not fit into it; how many such extensions, and their bytes."""

    name: str | None = None
    size: int | None = None
    count: int = 0
    bytes: int = 0


def is_tar(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a tar archive, plain or gzipped; 64 KiB are enough."""
    try:
        block = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, BLOCK) if head.startswith(_GZIP) else head
        if len(block) < BLOCK:
            return False
        _parsed(block[:BLOCK])
    except (zlib.error, tarfile.HeaderError):
        return False
    return True


def tar_members(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Member]:
    """Yield the files of a tar archive.

    Raises:
        DamagedArchiveError: it cannot be read any further.
        ArchiveRefusedError: it holds more than the limits allow.
    """
    with _damage_said():
        file.seek(0)
        packed = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        yield from _members(cast("BinaryIO", gzip.GzipFile(fileobj=file)) if packed else file, Counted(limits))


@contextmanager
def _damage_said() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.HeaderError) as error:
        raise DamagedArchiveError(f"The archive is damaged ({error}); what comes after that is lost.") from error


def _members(stream: BinaryIO, counted: Counted) -> Iterator[Member]:
    extension = _Extension()
    while (header := _header(stream)) is not None:
        if header.type in _EXTENSIONS:
            extension = _extension(stream, header, extension)
            counted.take_bytes(header.size)
            continue
        body = _Body(stream, header.size if extension.size is None else extension.size)
        counted.take(body.size)
        if header.type in _FILES:
            yield Member(plain(text(extension.name or header.name)), body.size, body.read)
        body.skip()
        extension = _Extension()


class _Body:
    """A file's bytes in the stream, which are read or skipped."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.size = size
        self._stream, self._left = stream, size + -size % BLOCK

    def read(self, limit: int) -> bytes:
        """Return the bytes, once."""
        if self.size > limit:
            raise UnusableError(oversized(limit))
        with _damage_said():
            data = _exactly(self._stream, self._left)
        self._left = 0
        return data[: self.size]

    def skip(self) -> None:
        """Pass over what was not read."""
        while self._left:
            self._left -= len(_exactly(self._stream, min(self._left, STEP)))


def _header(stream: BinaryIO) -> tarfile.TarInfo | None:
    """Read the next header; None where the archive ends."""
    block = _exactly(stream, BLOCK)
    return _parsed(block) if any(block) else None


def _parsed(block: bytes) -> tarfile.TarInfo | None:
    if not any(block):
        return None
    header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if header.size < 0:
        raise tarfile.HeaderError("a size below zero")
    return header


def _extension(stream: BinaryIO, header: tarfile.TarInfo, before: _Extension) -> _Extension:
    count, size = before.count + 1, before.bytes + header.size
    if count > _MOST_EXTENSIONS or size > _EXTENSION_BYTES:
        raise tarfile.HeaderError("a header of absurd length")
    words = _exactly(stream, header.size + -header.size % BLOCK)[: header.size]
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return _Extension(os.fsdecode(words.rstrip(b"\0")), before.size, count, size)
    said = dict(_records(words))
    name = os.fsdecode(said[b"path"]) if b"path" in said else before.name
    length = said.get(b"size", b"")
    return _Extension(name, _number(length) if length.isdigit() else before.size, count, size)


def _records(words: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read the records of a POSIX extension, `LENGTH NAME=VALUE`, each with a line's end behind it."""
    at = 0
    while at < len(words):
        space = words.find(b" ", at, at + _MOST_DIGITS + 1)
        length = _number(words[at:space]) if space > at else 0
        # A record ends behind its space, so that each step goes forward.
        if not 0 < space - at < length <= len(words) - at:
            raise tarfile.HeaderError("an extension that cannot be read")
        name, _, value = words[space + 1 : at + length - 1].partition(b"=")
        yield name, value
        at += length


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MOST_DIGITS:
        raise tarfile.HeaderError("a number that cannot be read")
    return int(digits)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("it ends too soon")
    return data
