"""The files of a zip archive, each read by itself and none unpacked to disk."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from app.ingest.archive_members import (
    ArchiveLimits,
    ArchiveRefusedError,
    Counted,
    DamagedArchiveError,
    Member,
    Wanted,
    oversized,
    plain,
)
from app.ingest.entries import text

_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
# The end of the directory, with the longest comment behind it; and where in it the directory's size stands.
_END, _END_BYTES, _LONGEST_COMMENT = b"PK\x05\x06", 22, 65_535
_END64, _LOCATOR, _LOCATOR_BYTES = b"PK\x06\x06", b"PK\x06\x07", 20
_ENCRYPTED = 0x1
# What the directory may take for each member: a name, and what archivers add to it.
_DIRECTORY_BYTES = 256


def is_zip(path: Path) -> bool:
    """Tells whether a file begins as a zip archive does."""
    with path.open("rb") as file:
        return file.read(4) in _MAGIC


def zip_members(path: Path, limits: ArchiveLimits, wanted: Wanted) -> Iterator[Member]:
    """Goes through the files of a zip archive, and reads those that are wanted.

    Raises:
        DamagedArchiveError: it cannot be read.
        ArchiveRefusedError: it holds more than the limits allow.
    """
    try:
        _require_bounded_directory(path, limits)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
        raise DamagedArchiveError(
            f"The archive is damaged ({error}); of a zip archive nothing can be read without its end."
        ) from error
    with archive:
        counted = Counted(limits)
        for info in archive.infolist():
            counted.take(info.file_size)
        for info in archive.infolist():
            name = plain(text(info.filename))
            if not info.is_dir() and wanted(name):
                yield _member(archive, info, name, limits.member_bytes)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, limit: int) -> Member:
    if info.file_size > limit:
        return Member(name, problem=oversized(limit))
    if info.flag_bits & _ENCRYPTED:
        return Member(name, problem="The file is encrypted.")
    try:
        with archive.open(info) as file:
            return Member(name, file.read())
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        return Member(name, problem=f"The file is damaged in its archive: {error}.")


def _require_bounded_directory(path: Path, limits: ArchiveLimits) -> None:
    """Looks how large the directory is before `zipfile` reads it into memory, all at once."""
    size = _directory_bytes(path)
    if size > limits.members * _DIRECTORY_BYTES:
        raise ArchiveRefusedError(f"The archive's directory takes {size:,} bytes: too many files. Split it.")


def _directory_bytes(path: Path) -> int:
    with path.open("rb") as file:
        length = path.stat().st_size
        start = max(length - _LONGEST_COMMENT - _END_BYTES - _LOCATOR_BYTES, 0)
        file.seek(start)
        tail = file.read()
        at = tail.rfind(_END)
        if at < 0:
            raise zipfile.BadZipFile("it has no end")
        (size,) = struct.unpack_from("<I", tail, at + 12)
        locator = tail[max(at - _LOCATOR_BYTES, 0) : at]
        if locator.startswith(_LOCATOR):
            file.seek(struct.unpack_from("<Q", locator, 8)[0])
            end64 = file.read(56)
            if end64.startswith(_END64):
                (size,) = struct.unpack_from("<Q", end64, 40)
        return int(size)
