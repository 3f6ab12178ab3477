"""The files of a zip archive, each read by itself and none unpacked to disk."""

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
    Counted,
    DamagedArchiveError,
    Member,
    oversized,
    plain,
)
from app.ingest.sources.items import UnusableError, text

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_ENCRYPTED = 0x1
_READ = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# Other methods, by the numbers of the zip format, section 4.4.5: their decompressors cannot be read in bounded steps.
_METHODS = {1: "shrink", 6: "implode", 9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_STEP = 1 << 20
# What the directory may take for each member: a name, and what archivers add to it.
_DIRECTORY_BYTES = 256
# The end of a directory of more than 65,535 files, and the record that tells where it is.
_END64_BYTES = 56 + 20
_DIRECTORY_ENTRY = struct.Struct("<4s24x3H12x")
_DAMAGE = (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error)


def is_zip(head: bytes) -> bool:
    """Tell by a file's first bytes whether it is a zip archive."""
    return head.startswith(_MAGIC)


def zip_members(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Member]:
    """Yield the files of a zip archive.

    Raises:
        DamagedArchiveError: it cannot be read.
        ArchiveRefusedError: it holds more than the limits allow.
    """
    try:
        _require_bounded_directory(file, limits)
        archive = zipfile.ZipFile(file)
    except _DAMAGE as error:
        raise DamagedArchiveError(
            f"The archive is damaged ({error}); of a zip archive nothing can be read without its end."
        ) from error
    with archive:
        counted = Counted(limits)
        for info in archive.infolist():
            counted.take(info.file_size)
        for info in archive.infolist():
            if not info.is_dir():
                yield Member(plain(text(info.filename)), info.file_size, partial(_read, archive, info))


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    if info.file_size > limit:
        raise UnusableError(oversized(limit))
    if info.flag_bits & _ENCRYPTED:
        raise UnusableError("The file is encrypted.")
    if info.compress_type not in _READ:
        method = _METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise UnusableError(
            f"The file is compressed with {method}; only stored and deflated files are read from a zip."
        )
    try:
        return _inflated(archive, info)
    except (*_DAMAGE, zlib.error, EOFError) as error:
        raise UnusableError(f"The file is damaged in its archive: {error}.") from error


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Read a member step by step, and at most a step further than the size that the directory declares."""
    longer = copy.copy(info)
    # `zipfile` cuts off what is longer than declared, and says no more of it than that its checksum is wrong.
    longer.file_size += 2 * _STEP
    data = io.BytesIO()
    with archive.open(longer) as file:
        while step := file.read(_STEP):
            data.write(step)
            if data.tell() > info.file_size:
                raise zipfile.BadZipFile(f"it unpacks to more than the {info.file_size:,} bytes that it declares")
    return data.getvalue()


def _require_bounded_directory(file: BinaryIO, limits: ArchiveLimits) -> None:
    """Check the directory before `zipfile` reads all of it into memory, at several times its size."""
    # The function that `ZipFile` uses itself, so that both see the same directory: where it is, and what it declares.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if end is None:
        raise zipfile.BadZipFile("it has no end")
    signature, declared, size, position = end[0], end[4], end[5], end[9]
    limits.require_members(declared)
    if size > limits.members * _DIRECTORY_BYTES:
        raise ArchiveRefusedError(f"The archive's directory takes {size:,} bytes: too many files. Split it.")
    before_end = 0 if signature == b"PK\x05\x06" else _END64_BYTES
    _require_counted_entries(file, position - before_end - size, size, limits)


def _require_counted_entries(file: BinaryIO, start: int, size: int, limits: ArchiveLimits) -> None:
    """Count the directory's entries one by one, since the number that it declares may be lower."""
    file.seek(max(start, 0))
    directory, at, count = file.read(size), 0, 0
    while at + _DIRECTORY_ENTRY.size <= len(directory):
        signature, name, extra, comment = _DIRECTORY_ENTRY.unpack_from(directory, at)
        if signature != b"PK\x01\x02":
            return  # `zipfile` says so
        at += _DIRECTORY_ENTRY.size + name + extra + comment
        count += 1
        limits.require_members(count)
