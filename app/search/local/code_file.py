"""Code file: a snapshot of the code table on disk.

Layout, little-endian:

    prefix   magic, format, length of the header, CRC-32 of the header
    header   JSON: `CodeFileHeader`, with type, shape and CRC-32 of each array
    arrays   one after the other

Arrays are read into memory and verified there. They are not mapped: the kernel may drop a mapped page and read it again
later, unverified, and a file that becomes shorter would kill the process.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from app.search.local.code_table import MIN_CAPACITY, Snapshot, copy_rows
from app.search.local.inverted_lists import InvertedLists

Array = NDArray[Any]

_MAGIC, _FORMAT = b"LKCODES\n", 1
_PREFIX = struct.Struct("<8sIII")
_MAX_HEADER = 1 << 16
# Small enough to stay in a core's cache between reading and verifying.
_BLOCK = 1 << 18
_ROW_ARRAYS = ("ids", "codes", "slots", "checksums", "alive", "by_id")
_LIST_ARRAYS = ("centres", "starts", "radii")


class CodeFileError(Exception):
    """A code file cannot be used; the message is the reason, without a full stop."""


@dataclass(frozen=True)
class SavedTable:
    """What is saved of a code table.

    Attributes:
        snapshot: its rows and inverted lists.
        min_count_for_lists: the number of rows from which inverted lists are tried.
    """

    snapshot: Snapshot
    min_count_for_lists: int


@dataclass(frozen=True)
class _ArrayHeader:
    name: str
    dtype: str
    shape: tuple[int, ...]
    crc: int


@dataclass(frozen=True)
class CodeFileHeader:
    """Header of a code file.

    Attributes:
        id: random id of the file, 32 hexadecimal digits.
        index_version_id: the index version that the codes are of.
        seq: the last change of the catalogue that the table includes.
        listed: number of rows in inverted lists.
        deleted: number of rows that are deleted.
        min_count_for_lists: see `SavedTable`.
        arrays: layout of the arrays.
    """

    id: str
    index_version_id: int
    seq: int
    listed: int
    deleted: int
    min_count_for_lists: int
    arrays: tuple[_ArrayHeader, ...]


def write(file: BinaryIO, file_id: str, index_version_id: int, seq: int, saved: SavedTable) -> None:
    """Write a table to an empty file; the caller syncs it."""
    snapshot, arrays = saved.snapshot, _arrays(saved.snapshot)
    header = CodeFileHeader(
        id=file_id,
        index_version_id=index_version_id,
        seq=seq,
        listed=snapshot.lists.end,
        deleted=snapshot.deleted,
        min_count_for_lists=saved.min_count_for_lists,
        arrays=tuple(
            _ArrayHeader(name, array.dtype.str, array.shape, zlib.crc32(_bytes(array)))
            for name, array in arrays.items()
        ),
    )
    text = json.dumps(asdict(header)).encode()
    file.write(_PREFIX.pack(_MAGIC, _FORMAT, len(text), zlib.crc32(text)) + text)
    for array in arrays.values():
        for block in _blocks(_bytes(array)):
            file.write(block)


def size_of(saved: SavedTable) -> int:
    """Return an upper bound of the size of a table's file in bytes."""
    return _PREFIX.size + _MAX_HEADER + sum(array.nbytes for array in _arrays(saved.snapshot).values())


def read_header(file: BinaryIO) -> CodeFileHeader:
    """Read the header of a code file; the arrays follow.

    Raises:
        CodeFileError: it is no code file, is damaged, or has another format.
    """
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        raise CodeFileError("it is too short")
    magic, version, length, crc = _PREFIX.unpack(prefix)
    if magic != _MAGIC:
        raise CodeFileError("it is not a code file")
    if version != _FORMAT:
        raise CodeFileError(f"it has format {version}, and this version reads format {_FORMAT}")
    text = file.read(min(length, _MAX_HEADER))
    if len(text) != length or zlib.crc32(text) != crc:
        raise CodeFileError("its header is damaged")
    fields = json.loads(text)
    arrays = tuple(_ArrayHeader(**{**array, "shape": tuple(array["shape"])}) for array in fields.pop("arrays"))
    return CodeFileHeader(arrays=arrays, **fields)


def read_table(file: BinaryIO, header: CodeFileHeader) -> SavedTable:
    """Read the arrays that follow a header, and verify their checksums.

    Raises:
        CodeFileError: the file is damaged.
    """
    sizes = [np.dtype(array.dtype).itemsize * int(np.prod(array.shape)) for array in header.arrays]
    start = file.tell()
    if file.seek(0, os.SEEK_END) != start + sum(sizes):
        raise CodeFileError("it has the wrong size")
    file.seek(start)
    arrays = {array.name: _read_array(file, array) for array in header.arrays}
    rows = {name: arrays[name] for name in _ROW_ARRAYS}
    lists = InvertedLists(*(arrays[name] for name in _LIST_ARRAYS))
    snapshot = Snapshot(**rows, count=len(rows["ids"]), deleted=header.deleted, lists=lists)
    if snapshot.count < MIN_CAPACITY:
        snapshot = copy_rows(snapshot, np.arange(snapshot.count), MIN_CAPACITY)
    return SavedTable(snapshot, header.min_count_for_lists)


def _read_array(file: BinaryIO, header: _ArrayHeader) -> Array:
    array, crc = np.empty(header.shape, header.dtype), 0
    for block in _blocks(_bytes(array)):
        if file.readinto(block) != len(block):  # type: ignore[attr-defined]  # every binary file has it
            raise CodeFileError("it is too short")
        crc = zlib.crc32(block, crc)
    if crc != header.crc:
        raise CodeFileError(f"its {header.name} are damaged")
    return array


def _arrays(snapshot: Snapshot) -> dict[str, Array]:
    """Return the arrays of a snapshot by name, without spare capacity."""
    rows = {name: getattr(snapshot, name)[: snapshot.count] for name in _ROW_ARRAYS}
    return rows | {name: getattr(snapshot.lists, name) for name in _LIST_ARRAYS}


def _bytes(array: Array) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _blocks(view: memoryview) -> Iterator[memoryview]:
    return (view[first : first + _BLOCK] for first in range(0, len(view), _BLOCK))
