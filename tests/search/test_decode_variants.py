"""Unusual but intact image files decode as their usual twins do."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from app.errors import ImageRejectedError
from app.search.decode.image import DecodedImage, DecodeLimits, decode
from models.data.dataset import open_rgb
from models.data.orientation import read_orientation
from tests.images import STORED, corners, encoded, gradient
from tests.malicious_images import chunk, png, with_exif

LIMITS = DecodeLimits()
SHORT, LONG = 3, 4
# Sizes of a PNG's signature and header, and of its last chunk.
HEADER_BYTES, END_BYTES = 33, 12


def tiff(order: str, kind: int, orientation: int) -> bytes:
    """EXIF's TIFF structure with one entry, the orientation, as an integer of a type of TIFF."""
    letter = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}[kind]
    value = struct.pack(f"{order}{letter}", orientation).ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    return magic + struct.pack(f"{order}IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)


def turned(kind: str, orientation: int) -> bytes:
    """The corners as a rotated camera stores them, without any orientation."""
    image = corners()
    for step in STORED[orientation]:
        image = image.transpose(step)
    return encoded(image, kind)


def with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with a chunk after its header."""
    return data[:HEADER_BYTES] + chunk(name, body) + data[HEADER_BYTES:]


def in_training(data: bytes) -> Image.Image:
    """The image as training reads it."""
    return open_rgb(Path("image"), lambda _: data)


def is_upright(decoded: DecodedImage) -> bool:
    difference = ImageChops.difference(decoded.image, corners())
    return decoded.image.size == (64, 48) and max(ImageStat.Stat(difference).mean) < 6


@pytest.mark.parametrize("kind", [1, SHORT, LONG, 6, 8, 9])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_as_any_integer(kind: int, order: str, orientation: int) -> None:
    exif = tiff(order, kind, orientation)
    assert read_orientation(exif) == read_orientation(b"Exif\0\0" * 3 + exif) == orientation
    data = with_exif(turned("JPEG", orientation), b"Exif\0\0" + exif)
    assert is_upright(decode(data, LIMITS))
    assert in_training(data).tobytes() == decode(data, LIMITS).image.tobytes()


@pytest.mark.parametrize("prefix", [b"", b"Exif\0\0"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_png_with_exif_is_upright(prefix: bytes, orientation: int) -> None:
    image, exif = turned("PNG", orientation), chunk(b"eXIf", prefix + tiff(">", LONG, orientation))
    for at in (HEADER_BYTES, len(image) - END_BYTES):  # before and after the pixels
        data = image[:at] + exif + image[at:]
        assert is_upright(decode(data, LIMITS))
        assert in_training(data).tobytes() == corners().tobytes()


def raw_profile(name: str, exif: bytes) -> bytes:
    """A profile as ImageMagick writes it into text: a name, a length, and lines of hexadecimal digits."""
    digits = exif.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{name}\n{len(exif):8}\n{lines}\n".encode()


@pytest.mark.parametrize("keyword", ["exif", "APP1"])
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"compressed iTXt"])
def test_png_with_a_raw_profile_of_imagemagick_is_upright(keyword: str, kind: bytes) -> None:
    text = raw_profile(keyword.lower() if keyword == "exif" else keyword, b"Exif\0\0" + tiff("<", SHORT, 6))
    name = f"Raw profile type {keyword}".encode() + b"\0"
    body = {
        b"tEXt": name + text,
        b"zTXt": name + b"\0" + zlib.compress(text),
        b"iTXt": name + b"\0\0\0\0" + text,
        b"compressed iTXt": name + b"\1\0en\0\0" + zlib.compress(text),
    }[kind]
    data = with_chunk(turned("PNG", 6), kind[-4:], body)
    assert is_upright(decode(data, LIMITS))
    assert in_training(data).tobytes() == corners().tobytes()


def test_exif_of_a_png_goes_before_a_raw_profile() -> None:
    data = with_chunk(turned("PNG", 6), b"eXIf", tiff("<", SHORT, 6))
    text = raw_profile("exif", b"Exif\0\0" + tiff("<", SHORT, 3))
    both = with_chunk(data, b"tEXt", b"Raw profile type exif\0" + text)
    assert is_upright(decode(both, LIMITS))
    assert in_training(both).tobytes() == corners().tobytes()


@pytest.mark.parametrize(
    "body",
    [
        b"Raw profile type exif",
        b"Raw profile type exif\0",
        b"Raw profile type exif\0\nexif\n 4\nnone\n",
        b"Raw profile type APP1\0\nAPP1\n 4\n" + b"http://ns.adobe.com/xap/1.0/".hex().encode(),
        b"Raw profile type exif\0\nexif\n 20000000\n" + b"45" * 4_000_000,
    ],
)
@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt"])
def test_malformed_raw_profile_is_ignored(body: bytes, kind: bytes) -> None:
    assert is_upright(decode(with_chunk(encoded(corners(), "PNG"), kind, body), LIMITS))


def test_compressed_raw_profile_is_bounded() -> None:
    bomb = b"Raw profile type exif\0\0" + zlib.compress(b"\nexif\n 4\n" + b"45" * 20_000_000, 9)
    assert is_upright(decode(with_chunk(encoded(corners(), "PNG"), b"zTXt", bomb), LIMITS))


@pytest.mark.parametrize(
    ("depth", "kind", "rows", "transparent"),
    [
        (16, 0, ((0x0707, 0x0708), "H"), b"\x07\x07"),
        (4, 0, (0x7A, "B"), b"\0\x07"),
        (2, 0, (0b01_10_0000, "B"), b"\0\x01"),
        (1, 0, (0b01_000000, "B"), b"\0\0"),
        (16, 2, ((0x0101, 0x0202, 0x0303, 0x0901, 0x0902, 0x0903), "H"), b"\x01\x01\x02\x02\x03\x03"),
    ],
)
def test_transparent_colour_is_white_at_every_depth(
    depth: int, kind: int, rows: tuple[int | tuple[int, ...], str], transparent: bytes
) -> None:
    values, letter = rows
    packed = b"\0" + struct.pack(
        f">{letter}" if isinstance(values, int) else f">{len(values)}{letter}", *np.ravel(values)
    )
    data = png(2, 1, depth, kind, packed, chunk(b"tRNS", transparent))
    image = decode(data, LIMITS).image
    opaque = decode(png(2, 1, depth, kind, packed), LIMITS).image
    assert image.getpixel((0, 0)) == (255, 255, 255) != opaque.getpixel((0, 0))
    assert image.getpixel((1, 0)) == opaque.getpixel((1, 0))
    assert in_training(data).tobytes() == image.tobytes()


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(values=st.lists(st.integers(0, 255), min_size=1, max_size=16), at=st.integers(0, 15))
def test_16_bit_grey_with_transparency_equals_its_8_bit_twin(values: list[int], at: int) -> None:
    transparent = values[at % len(values)]
    twins = [
        png(
            len(values),
            1,
            depth,
            0,
            b"\0" + b"".join((value * factor).to_bytes(depth // 8) for value in values),
            chunk(b"tRNS", (transparent * factor).to_bytes(2)),
        )
        for depth, factor in ((8, 1), (16, 257))
    ]
    assert decode(twins[0], LIMITS).image.tobytes() == decode(twins[1], LIMITS).image.tobytes()


def with_brands(data: bytes, major: bytes, *compatible: bytes) -> bytes:
    """An ISO image file with other brands, in a box of the same size."""
    size = int.from_bytes(data[:4])
    brands = b"".join(compatible).ljust(size - 16, b"\0")
    assert len(brands) == size - 16
    return data[:8] + major + bytes(4) + brands + data[size:]


@pytest.mark.parametrize(
    ("kind", "brands"),
    [
        ("AVIF", (b"mif1", b"avif")),
        ("AVIF", (b"miaf", b"mif1", b"avif")),
        ("AVIF", (b"mif2", b"avif")),
        ("AVIF", (b"MA1B", b"miaf")),
        ("AVIF", (b"MA1A", b"mif1", b"miaf")),
        ("AVIF", (b"miaf", b"MA1B")),
        ("AVIF", (b"miaf", b"mif1")),
        ("AVIF", (b"isom", b"avif")),
        ("HEIF", (b"mif1", b"heic")),
        ("HEIF", (b"mif1", b"miaf", b"MiHE")),
        ("HEIF", (b"miaf", b"MiHE")),
        ("HEIF", (b"MiHE", b"miaf")),
        ("HEIF", (b"mif2", b"heic", b"miaf")),
        ("HEIF", (b"mif2", b"miaf")),
        ("HEIF", (b"isom", b"heix")),
        ("HEIF", (b"heim", b"miaf")),
    ],
)
def test_iso_images_are_recognised_by_any_brand(kind: str, brands: tuple[bytes, ...]) -> None:
    data = encoded(gradient(), kind)
    other = with_brands(data, *brands)
    decoded, usual = decode(other, LIMITS), decode(data, LIMITS)
    assert decoded.media_type == usual.media_type
    assert decoded.image.tobytes() == usual.image.tobytes()
    assert in_training(other).tobytes() == in_training(data).tobytes()


@pytest.mark.parametrize("brands", [(b"isom", b"mp42"), (b"qt  ", b"qt  "), (b"crx ", b"isom"), (b"M4A ",)])
def test_videos_and_other_iso_files_are_refused(brands: tuple[bytes, ...]) -> None:
    with pytest.raises(ImageRejectedError) as error:
        decode(with_brands(encoded(gradient(), "AVIF"), *brands), LIMITS)
    assert error.value.code == "image_format_unsupported"


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=40))
def test_any_ftyp_box_gives_an_image_or_a_refusal(box: bytes) -> None:
    with pytest.raises(ImageRejectedError):
        decode(struct.pack(">I", len(box) + 8) + b"ftyp" + box, LIMITS)


def test_png_is_written_by_pillow_with_its_chunks_in_order() -> None:
    """`with_chunk` inserts after a header of 33 bytes."""
    data = encoded(corners(), "PNG")
    assert data[12:16] == b"IHDR"
    assert Image.open(BytesIO(with_chunk(data, b"tEXt", b"a\0b"))).info["a"] == "b"
