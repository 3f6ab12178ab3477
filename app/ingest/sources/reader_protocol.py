"""Wire protocol from a reader process to the service.

A frame is two lengths, a JSON header and the bytes of a file. The reader process is untrusted, because an archive may
have taken it over: lengths are checked before reading, and only JSON is decoded.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple

from app.catalogue.metadata_patch import MetadataPatch
from models.data.left_out import LeftOut

LENGTHS = struct.Struct(">II")
# Enough for a row of a table: a million characters of cells and a million of column names, all escaped.
MAX_HEADER_BYTES = 16_000_000


class Frame(NamedTuple):
    """A header, and the bytes of its file."""

    header: Mapping[str, Any]
    data: bytes = b""


class BadFrameError(Exception):
    """The bytes are not a valid frame."""


def pack(header: Mapping[str, Any]) -> bytes:
    """Serialise a header.

    Raises:
        ValueError: the header is too long.
        RecursionError: its values are nested too deeply.
    """
    # Preserves lone surrogates, which names in archives may contain.
    packed = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    if len(packed) > MAX_HEADER_BYTES:
        raise ValueError(f"A header of {len(packed):,} bytes is too long.")
    return packed


def write_frame(stream: BinaryIO, header: Mapping[str, Any], data: bytes = b"") -> None:
    """Write a frame; raises as `pack`, before anything is written."""
    packed = pack(header)
    stream.write(LENGTHS.pack(len(packed), len(data)))
    stream.write(packed)
    stream.write(data)


def read_frame(stream: BinaryIO, max_bytes: int) -> Frame:
    """Read a frame with at most `max_bytes` bytes of a file.

    Raises:
        EOFError: the stream has ended.
        BadFrameError: the frame is invalid.
    """
    header_bytes, data_bytes = LENGTHS.unpack(_read_exactly(stream, LENGTHS.size))
    if header_bytes > MAX_HEADER_BYTES or data_bytes > max_bytes:
        raise BadFrameError(f"lengths of {header_bytes:,} and {data_bytes:,} bytes")
    try:
        header = json.loads(_read_exactly(stream, header_bytes).decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise BadFrameError(str(error)) from error
    if not isinstance(header, dict):
        raise BadFrameError("the header is not an object")
    return Frame(header, _read_exactly(stream, data_bytes))


def text_of(header: Mapping[str, Any], name: str) -> str:
    """Get a string from a header.

    Raises:
        BadFrameError: it is missing or not a string.
    """
    value = header.get(name)
    if not isinstance(value, str):
        raise BadFrameError(f"{name} is not a string")
    return value


def number_of(header: Mapping[str, Any], name: str) -> int:
    """Get a non-negative 64-bit integer from a header.

    Raises:
        BadFrameError: it is missing or not such an integer.
    """
    value = header.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise BadFrameError(f"{name} is not a number")
    return value


def left_out_of(header: Mapping[str, Any]) -> LeftOut:
    """Get what an archive leaves out from a header; nothing if it is missing.

    Raises:
        BadFrameError: it is malformed.
    """
    try:
        return LeftOut.from_json(header.get("left_out", {}))
    except ValueError as error:
        raise BadFrameError(str(error)) from error


def patch_of(header: Mapping[str, Any]) -> MetadataPatch:
    """Get an image's label and metadata from a header.

    Raises:
        BadFrameError: they are missing or malformed.
    """
    fields = header.get("given")
    if not isinstance(fields, dict) or not fields.keys() <= {"label", "metadata"}:
        raise BadFrameError("label and metadata are malformed")
    given: MetadataPatch = {}
    if "label" in fields:
        given["label"] = text_of(fields, "label")
    if "metadata" in fields:
        if not isinstance(fields["metadata"], dict):
            raise BadFrameError("metadata is not an object")
        given["metadata"] = fields["metadata"]
    return given


def _read_exactly(stream: BinaryIO, count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data
