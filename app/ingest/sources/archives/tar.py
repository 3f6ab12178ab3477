"""Stream the files of a tar archive, plain or gzipped.

Python's `tarfile` treats a damaged header as the end of the archive, and reads header extensions of any declared length
into memory. This parser supports the subset of the format that archives of images need, strictly.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from app.ingest.sources.archives.members import (
    ArchiveLimits,
    DamagedArchiveError,
    Member,
    MemberCounter,
    hard_link,
    normalised,
    oversized,
    rejected_member,
    symbolic_link,
)
from app.ingest.sources.items import UnusableError, text

BLOCK, STEP = 512, 1 << 20
# Maximum number and total size of a header's extensions. Archivers write one or two, of a few hundred bytes.
_MAX_EXTENSIONS, _MAX_EXTENSION_BYTES = 16, 1 << 20
# Python refuses to convert thousands of digits.
_MAX_DIGITS = 20
_GZIP = b"\x1f\x8b"
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_EXTENSIONS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE)
_NO_FILES = (tarfile.DIRTYPE, tarfile.XGLTYPE)
_SPECIAL = {tarfile.CHRTYPE: "a device", tarfile.BLKTYPE: "a device", tarfile.FIFOTYPE: "a pipe"}
_SPARSE = "The file is stored in parts, as a sparse file. Create the archive without --sparse."
# Offsets of the flag for more parts of a sparse file: in its header, and in the blocks that follow.
_MORE_PARTS_AT, _AND_MORE_AT = 482, 504


@dataclass(frozen=True)
class _Extension:
    """Name, link and size from extension headers, which override the next header; their number and total bytes."""

    name: str | None = None
    link: str | None = None
    sparse: bool = False
    size: int | None = None
    count: int = 0
    bytes: int = 0


def is_tar(head: bytes) -> bool:
    """Whether a file is a tar archive, plain or gzipped, by its first 64 KiB."""
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
        DamagedArchiveError: the archive cannot be read any further.
        ArchiveRefusedError: the archive exceeds a limit.
    """
    with _translated_errors():
        file.seek(0)
        gzipped = file.read(len(_GZIP)) == _GZIP
        file.seek(0)
        yield from _members(cast("BinaryIO", gzip.GzipFile(fileobj=file)) if gzipped else file, MemberCounter(limits))


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, zlib.error, tarfile.HeaderError) as error:
        raise DamagedArchiveError(f"The archive is damaged ({error}); the rest cannot be read.") from error


def _members(stream: BinaryIO, counter: MemberCounter) -> Iterator[Member]:
    extension = _Extension()
    while (header := _header(stream)) is not None:
        if header.type in _EXTENSIONS:
            extension = _extension(stream, header, extension)
            counter.take_bytes(header.size)
            continue
        # Links, devices and folders may declare a size, but no bytes follow.
        has_bytes = header.type in tarfile.REGULAR_TYPES or header.type not in tarfile.SUPPORTED_TYPES
        size = header.size if extension.size is None else extension.size
        body = _Body(stream, size if has_bytes else 0)
        counter.take(body.size)
        if header.type not in _NO_FILES:
            yield _member(header, extension, body)
        body.skip()
        extension = _Extension()


def _member(header: tarfile.TarInfo, extension: _Extension, body: "_Body") -> Member:
    written = text(extension.name or header.name)
    name, target = normalised(written), text(extension.link or header.linkname)
    if header.type == tarfile.LNKTYPE:
        return hard_link(name, target)
    if header.type == tarfile.SYMTYPE:
        return symbolic_link(name, target)
    if header.type == tarfile.GNUTYPE_SPARSE or extension.sparse:
        return rejected_member(name, _SPARSE)
    if header.type not in _FILES:
        return rejected_member(name, f"Not a regular file, but {_SPECIAL.get(header.type, 'of an unknown type')}.")
    return Member(name, body.size, body.read, misread="\N{REPLACEMENT CHARACTER}" in written)


class _Body:
    """The bytes of a file in the stream, to be read or skipped."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.size = size
        self._stream, self._left = stream, size + -size % BLOCK

    def read(self, limit: int) -> bytes:
        """Read the bytes; may be called once."""
        if self.size > limit:
            raise UnusableError(oversized(limit))
        with _translated_errors():
            data = _read_exactly(self._stream, self._left)
        self._left = 0
        return data[: self.size]

    def skip(self) -> None:
        """Skip unread bytes."""
        while self._left:
            self._left -= len(_read_exactly(self._stream, min(self._left, STEP)))


def _header(stream: BinaryIO) -> tarfile.TarInfo | None:
    """Read the next header; None at the end of the archive."""
    block = stream.read(BLOCK)
    if not block:
        raise EOFError("it has no end, so it may be truncated")
    if len(block) < BLOCK:
        raise EOFError("unexpected end")
    header = _parsed(block)
    if header is not None and header.type == tarfile.GNUTYPE_SPARSE and block[_MORE_PARTS_AT]:
        while _read_exactly(stream, BLOCK)[_AND_MORE_AT]:
            pass
    return header


def _parsed(block: bytes) -> tarfile.TarInfo | None:
    if not any(block):
        return None
    header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    if header.size < 0:
        raise tarfile.HeaderError("negative size")
    return header


def _extension(stream: BinaryIO, header: tarfile.TarInfo, before: _Extension) -> _Extension:
    count, size = before.count + 1, before.bytes + header.size
    if count > _MAX_EXTENSIONS or size > _MAX_EXTENSION_BYTES:
        raise tarfile.HeaderError("header extensions are too long")
    data = _read_exactly(stream, header.size + -header.size % BLOCK)[: header.size]
    if header.type == tarfile.GNUTYPE_LONGNAME:
        return replace(before, name=os.fsdecode(data.rstrip(b"\0")), count=count, bytes=size)
    if header.type == tarfile.GNUTYPE_LONGLINK:
        return replace(before, link=os.fsdecode(data.rstrip(b"\0")), count=count, bytes=size)
    records = dict(_records(data))
    length = records.get(b"size", b"")
    return _Extension(
        name=_decoded(records, b"GNU.sparse.name") or _decoded(records, b"path") or before.name,
        link=_decoded(records, b"linkpath") or before.link,
        sparse=before.sparse or any(name.startswith(b"GNU.sparse.") for name in records),
        size=_number(length) if length.isdigit() else before.size,
        count=count,
        bytes=size,
    )


def _decoded(records: Mapping[bytes, bytes], name: bytes) -> str | None:
    return os.fsdecode(records[name]) if name in records else None


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Parse the newline-terminated records of a PAX extension, `LENGTH NAME=VALUE`."""
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + _MAX_DIGITS + 1)
        length = _number(data[at:space]) if space > at else 0
        # A record is longer than its length field, so each step advances.
        if not 0 < space - at < length <= len(data) - at:
            raise tarfile.HeaderError("invalid header extension")
        name, _, value = data[space + 1 : at + length - 1].partition(b"=")
        yield name, value
        at += length


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise tarfile.HeaderError("invalid number")
    return int(digits)


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("unexpected end")
    return data
