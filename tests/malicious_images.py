"""Malicious image files: wrong sizes, decompression bombs, truncated files, polyglots."""

import struct
import zlib
from collections.abc import Iterator
from io import BytesIO
from zipfile import ZipFile

from PIL import Image

from tests.images import encoded, every_format, gradient

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
LARGEST = 2**31 - 1


def chunk(name: bytes, data: bytes) -> bytes:
    """A PNG chunk with its checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG with a header and rows that need not match."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return PNG_MAGIC + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def with_exif(jpeg: bytes, exif: bytes) -> bytes:
    """A JPEG with this EXIF as its first segment."""
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def gif(screen: tuple[int, int], frame: tuple[int, int, int, int], head: bytes = b"") -> bytes:
    """A GIF with one pixel of data, and a screen and a frame of any size."""
    lzw = b"\x02\x02\x44\x01\x00"  # one pixel of colour 0
    palette = bytes((9, 99, 199, 255, 255, 255))
    descriptor = b"," + struct.pack("<4HB", *frame, 0)
    return b"GIF89a" + struct.pack("<HHBBB", *screen, 0x80, 0, 0) + palette + head + descriptor + lzw + b";"


def patched(data: bytes, at: int, value: bytes) -> bytes:
    """Data with some bytes replaced."""
    return data[:at] + value + data[at + len(value) :]


def malicious_images(steps: int = 100) -> Iterator[tuple[str, bytes]]:
    """Yield names and files; each format is truncated at `steps` places."""
    yield from bombs()
    yield from wrong_sizes()
    yield from polyglots()
    yield from malformed_headers()
    for kind, data in every_format(gradient(200, 150)).items():
        yield from ((f"{kind} truncated at {step}/{steps}", data[: len(data) * step // steps]) for step in range(steps))


def bombs() -> Iterator[tuple[str, bytes]]:
    """Decompression bombs: small files that need much memory or time."""
    yield "png declared 20,000 × 20,000", png(20_000, 20_000, 1, 0, bytes(2501) * 20_000)
    yield "png of the largest size that can be declared", png(LARGEST, LARGEST, 16, 6, b"")
    yield "png with 100 MB after its pixels", png(1, 1, 8, 0, b"\x00\x07" + bytes(100_000_000))
    text = b"a\0\0" + zlib.compress(bytes(100_000_000))
    yield (
        "png with 100 MB of text and profile",
        png(1, 1, 8, 0, b"\x00\x07", chunk(b"iCCP", text), chunk(b"zTXt", text)),
    )
    yield "gif of 65,535 × 65,535", gif((65_535, 65_535), (0, 0, 65_535, 65_535))
    yield "webp of 16,383 × 3,000", encoded(Image.new("1", (16_383, 3_000)).convert("RGB"), "WEBP", lossless=True)
    yield "jpeg of 7,000 × 7,000", encoded(Image.new("L", (7_000, 7_000)), progressive=True)
    scans = encoded(gradient(), progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    yield "jpeg of 5,000 scans", scans[:-2] + last * 5_000 + scans[-2:]
    frames = [Image.new("P", (500, 500), number % 256) for number in range(300)]
    yield "gif of 300 frames", encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield "png of 300 frames", encoded(frames[0], "PNG", save_all=True, append_images=frames[1:])
    small = [Image.new("RGB", (64, 64), (number, 0, 0)) for number in range(100)]
    yield "webp of 100 frames", encoded(small[0], "WEBP", save_all=True, append_images=small[1:])
    yield "avif of 30 frames", encoded(small[0], "AVIF", save_all=True, append_images=small[1:30])


def wrong_sizes() -> Iterator[tuple[str, bytes]]:
    """Files whose declared size does not match their data."""
    for width, height in ((0, 0), (0, 1), (1, 0), (1, 65_535), (65_535, 1), (7_000, 7_000), (LARGEST, 1)):
        yield f"png of one pixel declared {width} × {height}", png(width, height, 8, 0, b"\x00\x07")
        sides = min(width, 65_535), min(height, 65_535)
        yield f"gif of one pixel declared {width} × {height}", gif(sides, (0, 0, *sides))
        bmp = encoded(gradient(), "BMP")
        yield f"bmp declared {width} × {height}", patched(bmp, 18, struct.pack("<ii", width, height))
        yield f"bmp declared {width} × −{height}", patched(bmp, 18, struct.pack("<ii", width, -height))
        jpeg = encoded(gradient())
        at = jpeg.index(b"\xff\xc0") + 5
        yield f"jpeg declared {width} × {height}", patched(jpeg, at, struct.pack(">HH", sides[1], sides[0]))
        for kind in ("AVIF", "HEIF"):
            data = encoded(gradient(), kind)
            at = data.index(b"ispe") + 8
            yield f"{kind} declared {width} × {height}", patched(data, at, struct.pack(">II", width, height))
        webp = encoded(gradient(), "WEBP")
        at = webp.index(b"VP8 ") + 14
        yield (
            f"webp declared {width} × {height}",
            patched(webp, at, struct.pack("<HH", *(min(n, 16_383) for n in sides))),
        )
    yield "an image one pixel high", encoded(gradient(65_535, 1), "PNG")
    yield "an image one pixel wide", encoded(gradient(1, 65_535), "PNG")


def polyglots() -> Iterator[tuple[str, bytes]]:
    """Files that are also valid in another format, and other file types."""
    script = b"<script>alert(1)</script><?php phpinfo(); ?>"
    archive = BytesIO()
    with ZipFile(archive, "w") as folder:
        folder.writestr("../../etc/passwd", b"root")
    for kind, data in every_format(gradient()).items():
        yield f"{kind} and script", data + script
        yield f"{kind} and archive", data + archive.getvalue()
        yield f"script and {kind}", script + data
    jpeg = encoded(gradient(), comment=script)
    yield "jpeg whose comment is a script", jpeg
    yield "jpeg in a pdf", b"%PDF-1.4\n" + jpeg
    yield "gif that is a program", b"GIF89a/*" + bytes(8) + b"*/=1;alert(1)"
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"
    entities = b"".join(b"<!ENTITY a%d '%s'>" % (depth, b"&a%d;" % (depth - 1) * 10) for depth in range(1, 9))
    yield (
        "svg of many entities",
        b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY a0 'a'>" + entities + b"]><svg>&a8;</svg>",
    )
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n"
    for kind in ("TIFF", "ICO", "PPM", "TGA", "PCX", "JPEG2000"):
        yield f"a {kind}", encoded(gradient(), kind)


def malformed_headers() -> Iterator[tuple[str, bytes]]:
    """Malformed and unusual headers."""
    jpeg = encoded(gradient())
    for number, exif in enumerate(
        (
            b"Exif\0\0",
            b"Exif\0\0II*\0\xff\xff\xff\xff",
            b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x1a\0\x05\0\0\0\x01\xff\xff\xff\xff" * 3,
            b"Exif\0\0" + b"\xff" * 65_000,
        )
    ):
        yield f"jpeg with bad exif {number}", with_exif(jpeg, exif)
    yield "jpeg with an invalid profile", encoded(gradient(), icc_profile=bytes(range(256)) * 400)
    yield "jpeg of 60,000 segments", b"\xff\xd8" + b"\xff\xe0\0\2" * 60_000
    yield "jpeg of padding", b"\xff\xd8" + b"\xff" * 60_000
    yield "png of 60,000 chunks", png(1, 1, 8, 0, b"\x00\x07", b"\0\0\0\0aaaa\0\0\0\0" * 60_000)
    yield "gif of 60,000 extensions", gif((1, 1), (0, 0, 1, 1), head=b"!\xfe\0" * 60_000)
    yield "run-length compressed bmp", patched(encoded(gradient().convert("P"), "BMP"), 30, b"\x01")
    yield "nested boxes", b"\0\0\0\x18ftypavif\0\0\0\0avifmif1" + b"\0\0\xff\xffmeta\0\0\0\0" * 4_000
    yield "empty", b""
    yield "noise", bytes(range(256)) * 64
