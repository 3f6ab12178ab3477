"""Read the files of a zip archive, without unpacking it to disk."""

import copy
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO

from app.ingest.sources.archive_members import (
    ArchiveLimits,
    ArchiveRefusedError,
    DamagedArchiveError,
    Member,
    MemberCounter,
    normalised,
    oversized,
)
from app.ingest.sources.items import UnusableError, text

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_ENCRYPTED = 0x1
_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Other methods (zip format, section 4.4.5): their decompressors cannot be read in bounded steps.
_METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_STEP = 1 << 20
# Maximum average size of a directory entry: a name and extra fields.
_DIRECTORY_BYTES = 256
# The zip64 end of central directory, and its locator.
_END64_BYTES = 56 + 20
_DIRECTORY_ENTRY = struct.Struct("<4s24x3H12x")
_DAMAGE = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error)


def is_zip(head: bytes) -> bool:
    """Whether a file is a zip archive, by its first bytes."""
    return head.startswith(_MAGIC)


def zip_members(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Member]:
    """Yield the files of a zip archive.

    Raises:
        DamagedArchiveError: the archive cannot be read.
        ArchiveRefusedError: the archive exceeds a limit.
    """
    try:
        _require_bounded_directory(file, limits)
        archive = zipfile.ZipFile(file)
    except _DAMAGE as error:
        raise DamagedArchiveError(
            f"The archive is damaged ({error}). A truncated zip archive cannot be read. Upload it again."
        ) from error
    with archive:
        counter = MemberCounter(limits)
        for info in archive.infolist():
            counter.take(info.file_size)
        for info in archive.infolist():
            if not info.is_dir():
                yield Member(normalised(text(info.filename)), info.file_size, partial(_read, archive, info))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    if info.file_size > limit:
        raise UnusableError(oversized(limit))
    if info.flag_bits & _ENCRYPTED:
        raise UnusableError("The file is encrypted.")
    if info.compress_type not in _READ:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise UnusableError(f"The file is compressed with {method}. Only stored and deflated files are supported.")
    try:
        return _inflated(archive, info)
    except (*_DAMAGE, zlib.error, EOFError) as error:
        raise UnusableError(f"The file is damaged in the archive: {error}.") from error


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Inflate a member in steps, at most one step beyond its declared size."""
    longer = copy.copy(info)
    # `zipfile` truncates a member at its declared size, and reports only a wrong checksum.
    longer.file_size += 2 * _STEP
    data = io.BytesIO()
    with archive.open(longer) as file:
        while step := file.read(_STEP):
            data.write(step)
            if data.tell() > info.file_size:
                raise zipfile.BadZipFile(f"it unpacks to more than the declared {info.file_size:,} bytes")
    return data.getvalue()


def _require_bounded_directory(file: BinaryIO, limits: ArchiveLimits) -> None:
    """Check the size of the directory before `zipfile` reads it into memory, at several times its size."""
    # The function that `ZipFile` uses itself, so that both find the same directory.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is None:
        raise zipfile.BadZipFile("no end of central directory")
    signature, declared, size, position = end[0], end[4], end[5], end[9]
    limits.require_members(declared)
    if size > limits.members * _DIRECTORY_BYTES:
        raise ArchiveRefusedError(f"The archive's directory takes {size:,} bytes: too many files. Split it.")
    before_end = 0 if signature == b"PK\x05\x06" else _END64_BYTES
    _require_counted_entries(file, position - before_end - size, size, limits)


def _require_counted_entries(file: BinaryIO, start: int, size: int, limits: ArchiveLimits) -> None:
    """Count the directory's entries, because the declared number may be lower."""
    file.seek(max(start, 0))
    directory, at, count = file.read(size), 0, 0
    while at + _DIRECTORY_ENTRY.size <= len(directory):
        signature, name, extra, comment = _DIRECTORY_ENTRY.unpack_from(directory, at)
        if signature != b"PK\x01\x02":
            return  # `zipfile` reports this
        at += _DIRECTORY_ENTRY.size + name + extra + comment
        count += 1
        limits.require_members(count)
