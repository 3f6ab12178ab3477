"""Colour profiles of files: found in each format, converted to sRGB, ignored with a warning if they cannot be used."""

import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.search.decode.image import DecodedImage, DecodeLimits, DecodeOptions, ImageWarning, decode
from app.search.decode.prepare import InProcessPreparer
from app.search.decode.sandbox import DecodeConfig, Sandbox
from models.data.colour_profile import MAX_PROFILE_BYTES, to_srgb
from models.data.dataset import open_rgb
from models.network.preprocess import Preprocess
from tests import colour_profiles as made
from tests.images import encoded, gradient
from tests.malicious_images import chunk

LIMITS = DecodeLimits()
MANAGED = DecodeOptions(colour="srgb")
READS = Preprocess(32, "crop", (0, 0, 0), (1, 1, 1), crop_ratio=0.875, colour="srgb")
P3 = made.rgb(made.DISPLAY_P3, made.SRGB_GAMMA)
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100},
}


def managed(data: bytes) -> DecodedImage:
    return decode(data, LIMITS, MANAGED)


def difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, np.int16) - np.asarray(other, np.int16)).mean())


def png_with(name: bytes, body: bytes, data: bytes | None = None) -> bytes:
    data = data or encoded(gradient(), "PNG")
    return data[:33] + chunk(name, body) + data[33:]


@pytest.mark.parametrize("kind", FORMATS)
def test_profile_of_each_format_is_converted(kind: str) -> None:
    data = encoded(gradient(), kind, icc_profile=P3, **FORMATS[kind])
    plain, found = decode(data, LIMITS), managed(data)
    assert found.warnings == ()
    assert difference(found.image, to_srgb(plain.image, P3)) == 0
    assert difference(found.image, plain.image) > 1


@pytest.mark.parametrize("kind", FORMATS)
def test_image_without_a_profile_is_the_same(kind: str) -> None:
    data = encoded(gradient(), kind, **FORMATS[kind])
    assert managed(data).image.tobytes() == decode(data, LIMITS).image.tobytes()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("profile", [b"none", P3[:300], made.grey(1.8), made.cmyk()])
def test_profile_that_cannot_be_used_is_ignored_with_a_warning(kind: str, profile: bytes) -> None:
    data = encoded(gradient(), kind, icc_profile=profile, **FORMATS[kind])
    found = managed(data)
    assert found.warnings == (ImageWarning.COLOUR_PROFILE_IGNORED,)
    assert found.image.tobytes() == decode(data, LIMITS).image.tobytes()


def test_inks_are_converted_by_their_profile() -> None:
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    data = encoded(inks, quality=100, icc_profile=made.cmyk(0.5))
    found = np.asarray(managed(data).image, np.int16)
    assert np.abs(found - (128, 255, 255)).max() <= 6


def test_profile_in_parts_in_any_order_is_joined() -> None:
    # 64 KB fit into a segment.
    profile = P3.ljust(150_000, b"\0")
    profile = len(profile).to_bytes(4) + profile[4:]
    data = encoded(gradient(), icc_profile=profile)
    assert data.count(b"ICC_PROFILE\0") == 3
    plain = decode(data, LIMITS).image
    assert difference(managed(data).image, to_srgb(plain, P3)) == 0
    segments, at = [], data.index(b"\xff\xe2")
    for _ in range(3):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        segments.append(data[at:end])
        at = end
    start = data.index(b"\xff\xe2")
    shuffled = data[:start] + segments[2] + segments[0] + segments[1] + data[at:]
    assert managed(shuffled).image.tobytes() == managed(data).image.tobytes()
    lacking = data[:start] + segments[0] + segments[2] + data[at:]
    assert managed(lacking).warnings == (ImageWarning.COLOUR_PROFILE_IGNORED,)


def test_malformed_profile_chunks_of_a_png_are_ignored() -> None:
    plain = decode(encoded(gradient(), "PNG"), LIMITS).image.tobytes()
    enormous = zlib.compress(bytes(MAX_PROFILE_BYTES + 10))
    for body in (b"name\0\0" + P3, b"name\0\0" + zlib.compress(P3)[:-300], b"name\0\0" + enormous, b"name\0", b"name"):
        found = managed(png_with(b"iCCP", body))
        assert found.warnings == (ImageWarning.COLOUR_PROFILE_IGNORED,), body[:20]
        assert found.image.tobytes() == plain


def test_png_that_is_marked_as_srgb_is_not_converted() -> None:
    data = png_with(b"iCCP", b"name\0\0" + zlib.compress(P3), png_with(b"sRGB", b"\0"))
    assert managed(data).image.tobytes() == decode(data, LIMITS).image.tobytes()
    assert managed(data).warnings == ()


def test_warnings_of_a_file_are_all_reported() -> None:
    data = encoded(gradient(), icc_profile=b"none")[:-2]
    assert managed(data).warnings == (ImageWarning.JPEG_END_MISSING, ImageWarning.COLOUR_PROFILE_IGNORED)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with closing(Sandbox(DecodeConfig(READS, LIMITS), 1, 5.0)) as opened:
        yield opened


def test_confined_decoder_converts_colours(sandbox: Sandbox) -> None:
    here = InProcessPreparer(READS, LIMITS)
    profiles = (P3, made.rgb(made.PROPHOTO, made.PROPHOTO_GAMMA), b"none", None)
    for kind, options in FORMATS.items():
        for profile in profiles:
            data = encoded(gradient(200, 120), kind, icc_profile=profile, **options)
            there, expected = sandbox(data, thumbnail=True), here(data, thumbnail=True)
            assert there.image.tobytes() == expected.image.tobytes()
            assert there.thumbnail == expected.thumbnail
            assert there.warnings == expected.warnings
    inks = encoded(Image.new("CMYK", (90, 90), (200, 0, 90, 10)), icc_profile=made.cmyk())
    assert sandbox(inks).image.tobytes() == here(inks).image.tobytes()


def test_thumbnail_has_the_colours_that_the_network_reads() -> None:
    data = encoded(Image.new("RGB", (300, 300), (200, 60, 60)), icc_profile=P3, quality=95)
    prepared = InProcessPreparer(READS, LIMITS)(data, thumbnail=True)
    shown = np.asarray(Image.open(BytesIO(prepared.thumbnail)), np.float64).mean(axis=(0, 1))
    read = np.asarray(prepared.image, np.float64).mean(axis=(0, 1))
    assert np.abs(shown - read).max() < 3
    assert np.abs(read - (200, 60, 60)).max() > 5


def test_network_of_an_older_version_reads_values_as_they_are() -> None:
    data = encoded(gradient(), "PNG", icc_profile=P3)
    old = InProcessPreparer(replace(READS, colour="ignore"), LIMITS)
    assert old(data).image.tobytes() == old(encoded(gradient(), "PNG")).image.tobytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_training_reads_the_same_colours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "image"
    path.write_bytes(encoded(gradient(), kind, icc_profile=P3, **FORMATS[kind]))
    assert open_rgb(path, colour="srgb").tobytes() == managed(path.read_bytes()).image.tobytes()
    assert open_rgb(path, colour="ignore").tobytes() == decode(path.read_bytes(), LIMITS).image.tobytes()
