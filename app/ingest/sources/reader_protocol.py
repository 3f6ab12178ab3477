"""Messages from the process that reads an archive or a table to the one that asked for it.

A frame is two lengths, a header in JSON and the bytes of a file. The reading process may be controlled by the
maker of the archive: lengths are checked before anything is read, and no objects travel.
"""

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from app.catalogue.changes import Given

LENGTHS = struct.Struct(">II")
# A row of a table is the longest header: a million characters of cells, as many of column names, all of them escaped.
LONGEST_HEADER = 16_000_000


class Frame(NamedTuple):
    """A message, and the bytes of the file that it speaks of."""

    header: Mapping[str, Any]
    data: bytes = b""


class BadFrameError(Exception):
    """Bytes that are no frame."""


def pack(header: Mapping[str, Any]) -> bytes:
    """Write a header down.

    Raises:
        ValueError: it is longer than a header may be.
        RecursionError: its values lie too deep in each other.
    """
    # Names in archives may hold half of a surrogate pair, which only this encoding keeps.
    packed = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if len(packed) > LONGEST_HEADER:
        raise ValueError(f"A header of {len(packed):,} bytes is too long.")
    return packed


def write_frame(stream: BinaryIO, header: Mapping[str, Any], data: bytes = b"") -> None:
    """Write a frame; see `pack` for what it raises before anything is written."""
    packed = pack(header)
    stream.write(LENGTHS.pack(len(packed), len(data)))
    stream.write(packed)
    stream.write(data)


def read_frame(stream: BinaryIO, most_bytes: int) -> Frame:
    """Read a frame with at most so many bytes of a file.

    Raises:
        EOFError: the stream has ended.
        BadFrameError: this is no frame.
    """
    header_bytes, data_bytes = LENGTHS.unpack(_exactly(stream, LENGTHS.size))
    if header_bytes > LONGEST_HEADER or data_bytes > most_bytes:
        raise BadFrameError(f"lengths of {header_bytes:,} and {data_bytes:,} bytes")
    try:
        header = json.loads(_exactly(stream, header_bytes).decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise BadFrameError(str(error)) from error
    if not isinstance(header, dict):
        raise BadFrameError("a header that is no object")
    return Frame(header, _exactly(stream, data_bytes))


def text_of(header: Mapping[str, Any], name: str) -> str:
    """Return a text from a header.

    Raises:
        BadFrameError: there is none.
    """
    value = header.get(name)
    if not isinstance(value, str):
        raise BadFrameError(f"{name} is not text")
    return value


def number_of(header: Mapping[str, Any], name: str) -> int:
    """Return a number, zero or more, from a header.

    Raises:
        BadFrameError: there is none.
    """
    value = header.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise BadFrameError(f"{name} is not a number")
    return value


def given_of(header: Mapping[str, Any]) -> "Given":
    """Return what is said of a picture from a header.

    Raises:
        BadFrameError: it is not of that form.
    """
    said = header.get("given")
    if not isinstance(said, dict) or not said.keys() <= {"label", "metadata"}:
        raise BadFrameError("what is said of a picture is of another form")
    given: Given = {}
    if "label" in said:
        given["label"] = text_of(said, "label")
    if "metadata" in said:
        if not isinstance(said["metadata"], dict):
            raise BadFrameError("metadata is no object")
        given["metadata"] = said["metadata"]
    return given


def _exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
