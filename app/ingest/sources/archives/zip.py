"""Read the files of a zip archive, without unpacking it to disk."""

import copy
import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import BinaryIO, cast

from app.ingest.sources.archives.members import (
    ArchiveLimits,
    ArchiveRefusedError,
    DamagedArchiveError,
    Member,
    MemberCounter,
    normalised,
    oversized,
    rejected_member,
    symbolic_link,
)
from app.ingest.sources.items import UnusableError, text

_UTF8 = 0x800
_UNIX = 3
_UNICODE_PATH = 0x7075
_MAX_LINK = 4096
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
# Of an extra field: its kind and the size of its content.
_EXTRA_HEADER = struct.Struct("<HH")
_DIRECTORY_ENTRY = struct.Struct("<4s4xH18x3H12x")
# Offsets of the flags in an entry of the directory, and in a member's own header.
_FLAGS_AT, _LOCAL_FLAGS_AT = 8, 6
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
        archive = zipfile.ZipFile(_bounded_directory(file, limits))
    except _DAMAGE as error:
        raise DamagedArchiveError(
            f"The archive is damaged ({error}). A truncated zip archive cannot be read. Upload it again."
        ) from error
    with archive:
        counter = MemberCounter(limits)
        for info in archive.infolist():
            counter.take(info.file_size)
        for info in archive.infolist():
            name, is_certain = _name(info)
            if name.endswith("/"):
                continue
            if _is_link(info):
                yield _link(archive, info, normalised(name))
            else:
                read = partial(_read, archive, info)
                yield Member(normalised(name), info.file_size, read, misread=not is_certain)


def _name(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """Return a member's name with `/` between folders, and whether its encoding is certain.

    Names are UTF-8 if a flag says so, and in a field that Info-ZIP adds; macOS writes UTF-8 without either. What is not
    UTF-8 is read as code page 437, which the format prescribes, but Windows writes the code page of its language.
    """
    if info.flag_bits & _UTF8:
        return _slashes(info.orig_filename), True
    raw = info.orig_filename.encode("cp437")
    for encoded in (_unicode_path(info.extra, raw), raw):
        with suppress(UnicodeDecodeError):
            return _slashes(encoded.decode()), True
    return _slashes(info.orig_filename), False


def _slashes(name: str) -> str:
    return text(name.split("\0", 1)[0].replace("\\", "/"))


def _unicode_path(extra: bytes, raw: bytes) -> bytes:
    """Return the UTF-8 name from Info-ZIP's extra field; the raw name if there is none, or it is outdated."""
    while len(extra) >= _EXTRA_HEADER.size:
        kind, size = _EXTRA_HEADER.unpack_from(extra)
        end = _EXTRA_HEADER.size + size
        field, extra = extra[_EXTRA_HEADER.size : end], extra[end:]
        if kind == _UNICODE_PATH and field[:5] == struct.pack("<BI", 1, zlib.crc32(raw)):
            return field[5:]
    return raw


def _is_link(info: zipfile.ZipInfo) -> bool:
    return info.create_system == _UNIX and stat.S_ISLNK(info.external_attr >> 16)


def _link(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Member:
    """Return a symbolic link, whose bytes are its target."""
    try:
        return symbolic_link(name, os.fsdecode(_read(archive, info, _MAX_LINK)))
    except UnusableError as error:
        return rejected_member(name, str(error))


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
    except UnicodeDecodeError as error:
        raise UnusableError("The file's name is marked as UTF-8, which it is not. Rename it.") from error
    except (*_DAMAGE, zlib.error, EOFError) as error:
        raise UnusableError(f"The file is damaged in the archive: {error}.") from error


def _inflated(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Inflate a member in steps, at most one step beyond its declared size."""
    longer = copy.copy(info)
    longer.orig_filename = _local_name(archive, info)
    # `zipfile` truncates a member at its declared size, and reports only a wrong checksum.
    longer.file_size += 2 * _STEP
    data = io.BytesIO()
    with archive.open(longer) as file:
        while step := file.read(_STEP):
            data.write(step)
            if data.tell() > info.file_size:
                raise zipfile.BadZipFile(f"it unpacks to more than the declared {info.file_size:,} bytes")
    return data.getvalue()


def _local_name(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> str:
    """Return a member's name as its own header says it is encoded: `zipfile` compares the names."""
    file = cast("BinaryIO", archive.fp)
    file.seek(info.header_offset + _LOCAL_FLAGS_AT)
    is_utf8 = int.from_bytes(file.read(2), "little") & _UTF8
    return info.orig_filename.encode(_encoding(info.flag_bits)).decode(_encoding(is_utf8))


def _encoding(flags: int) -> str:
    return "utf-8" if flags & _UTF8 else "cp437"


def _bounded_directory(file: BinaryIO, limits: ArchiveLimits) -> BinaryIO:
    """Check the directory before `zipfile` reads it into memory, at several times its size.

    Returns:
        the file; if a name is said to be UTF-8 and is not, with that flag cleared: `zipfile` would reject the archive.
    """
    # `ZipFile` finds its directory by this private function. Another search for it could find another directory than
    # the one that `ZipFile` reads afterwards, and check the wrong one.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]  # private, so typeshed omits it
    if end is None:
        raise zipfile.BadZipFile("no end of central directory")
    signature, declared, size, position = end[0], end[4], end[5], end[9]
    limits.require_members(declared)
    if size > limits.members * _DIRECTORY_BYTES:
        raise ArchiveRefusedError(f"The archive's directory takes {size:,} bytes: too many files. Split it.")
    before_end = 0 if signature == b"PK\x05\x06" else _END64_BYTES
    start = max(position - before_end - size, 0)
    file.seek(start)
    directory = file.read(size)
    wrong = list(_wrong_flags(directory, limits))
    return cast("BinaryIO", _ClearedFlags(file, start, directory, wrong)) if wrong else file


def _wrong_flags(directory: bytes, limits: ArchiveLimits) -> Iterator[int]:
    """Count the directory's entries, because the declared number may be lower; yield where names are not UTF-8."""
    at, count = 0, 0
    while at + _DIRECTORY_ENTRY.size <= len(directory):
        signature, flags, name, extra, comment = _DIRECTORY_ENTRY.unpack_from(directory, at)
        if signature != b"PK\x01\x02":
            return  # `zipfile` reports this
        end = at + _DIRECTORY_ENTRY.size + name
        if flags & _UTF8:
            try:
                directory[end - name : end].decode()
            except UnicodeDecodeError:
                yield at + _FLAGS_AT
        at = end + extra + comment
        count += 1
        limits.require_members(count)


class _ClearedFlags:
    """A zip file with the UTF-8 flag cleared in some entries of its directory."""

    def __init__(self, file: BinaryIO, start: int, directory: bytes, wrong: Sequence[int]) -> None:
        self._file, self._start, self._directory = file, start, bytearray(directory)
        for at in wrong:
            flags = int.from_bytes(directory[at : at + 2], "little") & ~_UTF8
            self._directory[at : at + 2] = flags.to_bytes(2, "little")
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Read as from the file."""
        at = self._file.tell()
        data = self._file.read(size)
        begin, end = max(at, self._start), min(at + len(data), self._start + len(self._directory))
        if begin >= end:
            return data
        part = self._directory[begin - self._start : end - self._start]
        return data[: begin - at] + part + data[end - at :]
