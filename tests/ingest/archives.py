"""Build archives in memory, valid and malformed."""

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(files: Mapping[str, bytes], kind: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as archive:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return buffer.getvalue()


def gzipped(files: Mapping[str, bytes]) -> bytes:
    return gzip.compress(tarred(files))


@dataclass(frozen=True)
class Raw:
    """A zip member with arbitrary values in its headers."""

    name: bytes
    packed: bytes
    size: int
    crc: int = 0
    method: int = zipfile.ZIP_DEFLATED


def raw_zip(members: Sequence[Raw], declared: int | None = None) -> bytes:
    """A zip whose end record declares any number of members."""
    body, directory = bytearray(), bytearray()
    for member in members:
        about = struct.pack(
            "<HHHHIIIHH", 0, member.method, 0, 0, member.crc, len(member.packed), member.size, len(member.name), 0
        )
        directory += struct.pack("<4sHH", b"PK\x01\x02", 20, 20) + about
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + member.name
        body += struct.pack("<4sH", b"PK\x03\x04", 20) + about + member.name + member.packed
    count = (len(members) if declared is None else declared) & 0xFFFF
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


class Flagged:
    """A stored zip member with any bytes as its name, and flags in the directory and in its own header."""

    def __init__(self, name: bytes, data: bytes, flags: int, local_flags: int) -> None:
        self.name, self.data, self.flags, self.local_flags, self.extra = name, data, flags, local_flags, b""


def stored(name: bytes, data: bytes, flags: int = 0, local_flags: int | None = None) -> Flagged:
    return Flagged(name, data, flags, flags if local_flags is None else local_flags)


def flagged_zip(*members: Flagged) -> bytes:
    body, directory = bytearray(), bytearray()
    for member in members:
        about = struct.pack("<HHHIII", 0, 0, 0, zlib.crc32(member.data), len(member.data), len(member.data))
        names = struct.pack("<HH", len(member.name), len(member.extra))
        directory += struct.pack("<4sHHH", b"PK\x01\x02", 20, 20, member.flags) + about + names
        directory += struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + member.name + member.extra
        body += struct.pack("<4sHH", b"PK\x03\x04", 20, member.local_flags) + about + names
        body += member.name + member.extra + member.data
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return bytes(body + directory + end)


# Name, type and target of each link.
Links = Sequence[tuple[str, bytes, str]]


def tar_of(files: Mapping[str, bytes], links: Links, kind: int = tarfile.PAX_FORMAT, size: int = 0) -> bytes:
    """A tar of files, then links; `size` is what the links declare."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind) as made:
        for name, data in files.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            made.addfile(header, io.BytesIO(data))
        for name, link, target in links:
            header = tarfile.TarInfo(name)
            header.type, header.linkname, header.size = link, target, size
            made.addfile(header)
    return buffer.getvalue()


def inflating(size: int) -> bytes:
    """Raw deflate data that inflates to `size` zeros."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    step = bytes(1 << 20)
    parts = [packer.compress(step) for _ in range(size // len(step))]
    return b"".join([*parts, packer.compress(bytes(size % len(step))), packer.flush()])


def extension(records: bytes) -> bytes:
    """A PAX extension header, to precede a file's header."""
    header = tarfile.TarInfo("extension")
    header.type, header.size = tarfile.XHDTYPE, len(records)
    return header.tobuf(tarfile.GNU_FORMAT) + records + bytes(-len(records) % tarfile.BLOCKSIZE)


def record(name: bytes, value: bytes) -> bytes:
    """A record of a PAX header."""
    body = b" " + name + b"=" + value + b"\n"
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


def write_endless(path: Path, gigabytes: int) -> None:
    """Write a tar.gz of one huge file: minutes to unpack, one megabyte per gigabyte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    header = tarfile.TarInfo("large.bin")
    header.size = gigabytes << 30
    with path.open("wb") as file:
        file.write(packer.compress(header.tobuf(tarfile.GNU_FORMAT)) + packer.flush(zlib.Z_FULL_FLUSH))
        # After a full flush the output does not depend on earlier input.
        part = packer.compress(bytes(1 << 26)) + packer.flush(zlib.Z_FULL_FLUSH)
        for _ in range(gigabytes << 4):
            file.write(part)


# Archive bombs: small to upload, large in memory or time.
BOMBS: dict[str, Callable[[], bytes]] = {
    "understated zip member": lambda: raw_zip([Raw(b"a.jpg", inflating(400_000_000), 1000, zlib.crc32(bytes(1000)))]),
    "zip of many files": lambda: raw_zip([Raw(b"a", b"", 0)] * 1_200_000, declared=10),
    "table of many rows": lambda: zipped({"metadata.csv": b"file\n" + b"a\n" * 10_000_000}),
    "table of many columns": lambda: zipped({"metadata.csv": b"file" + b",x" * 400_000 + b"\n" + b"," * 400_000}),
    "table of one line": lambda: zipped({"metadata.jsonl": b'{"file": "' + b"a" * 90_000_000}),
    "table of bad rows": lambda: gzipped({"metadata.jsonl": b"x\n" * 10_000_000}),
    "tar extensions": lambda: gzip.compress(extension(record(b"a", b"b") * 150_000) * 20),
    "digits in a tar header": lambda: extension(record(b"size", b"9" * 5000)) + bytes(1024),
}
