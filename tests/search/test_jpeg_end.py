"""JPEGs that lack their last bytes: taken if every pixel is there, refused otherwise."""

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.errors import ImageRejectedError
from app.search.decode.image import DecodeLimits, DecodeOptions, ImageWarning, decode
from app.search.decode.sandbox import DecodeConfig, Sandbox
from models.data.dataset import open_rgb
from models.data.jpeg_end import jpeg_with_end
from models.network.preprocess import Preprocess
from tests.images import corners, encoded, gradient

LIMITS = DecodeLimits()
JPEG_VARIANTS: tuple[dict[str, Any], ...] = (
    {},
    {"quality": 95, "subsampling": 0},
    {"progressive": True},
    {"progressive": True, "quality": 100},
    {"restart_marker_blocks": 2},
    {"restart_marker_rows": 1},
    {"optimize": True},
)
PICTURES = {
    "gradient": gradient(65, 49),
    "white": Image.new("RGB", (64, 48), "white"),
    "grey": gradient().convert("L"),
    "noise": Image.fromarray(np.random.default_rng(0).integers(0, 256, (49, 33, 3), dtype=np.uint8)),
    "cmyk": gradient().convert("CMYK"),
}


def refused(data: bytes) -> bool:
    try:
        decode(data, LIMITS)
    except ImageRejectedError as error:
        return error.code == "image_damaged"
    return False


@pytest.mark.parametrize("options", JPEG_VARIANTS, ids=str)
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("filling", [b"", b"\xff" * 40, b"\0" * 40], ids=["nothing", "ones", "zeros"])
def test_jpeg_without_its_end_is_taken_with_a_warning(picture: str, options: dict[str, Any], filling: bytes) -> None:
    whole = encoded(PICTURES[picture], **options)
    intact = decode(whole, LIMITS)
    assert intact.warnings == ()
    for missing in (1, 2):
        decoded = decode(whole[:-missing] + filling, LIMITS)
        # Pillow itself takes some images that zeros follow.
        assert decoded.warnings == (ImageWarning.JPEG_END_MISSING,) or filling.startswith(b"\0")
        assert decoded.image.tobytes() == intact.image.tobytes()


@pytest.mark.parametrize("options", JPEG_VARIANTS, ids=str)
@pytest.mark.parametrize("picture", ["gradient", "noise"])
def test_jpeg_that_lacks_pixels_is_refused(picture: str, options: dict[str, Any]) -> None:
    whole = encoded(PICTURES[picture], **options)
    start = whole.index(b"\xff\xda")
    for length in range(len(whole) - 4, start, -7):
        assert refused(whole[:length]), length


def test_progressive_jpeg_that_lacks_a_whole_scan_is_refused() -> None:
    whole = encoded(gradient(65, 49), progressive=True)
    assert whole.count(b"\xff\xda") > 2
    assert refused(whole[: whole.rindex(b"\xff\xda")])


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(
    options=st.sampled_from(JPEG_VARIANTS),
    picture=st.sampled_from(sorted(PICTURES)),
    missing=st.integers(1, 400),
)
def test_shortened_jpeg_is_refused_or_has_every_pixel(options: dict[str, Any], picture: str, missing: int) -> None:
    whole = encoded(PICTURES[picture], **options)
    shorter = whole[: max(len(whole) - missing, 4)]
    if missing <= 2 or not refused(shorter):
        assert decode(shorter, LIMITS).image.tobytes() == decode(whole, LIMITS).image.tobytes()


def test_reduced_and_turned_jpeg_without_its_end_equals_the_whole_one() -> None:
    whole = encoded(corners(640, 480), "JPEG", 6)
    shorter, intact = decode(whole[:-2], LIMITS, DecodeOptions(30)), decode(whole, LIMITS, DecodeOptions(30))
    assert (shorter.width, shorter.height, shorter.image.tobytes()) == (640, 480, intact.image.tobytes())


@pytest.mark.parametrize("following", [b"\xff\xda", b"mp42" + bytes(100) + b"\xff\xda\0\x0c", encoded(gradient())[:-2]])
def test_bytes_after_the_end_are_no_missing_end(following: bytes) -> None:
    whole = encoded(gradient())
    assert jpeg_with_end(whole + following) is None
    decoded = decode(whole + following, LIMITS)
    assert decoded.warnings == ()
    assert decoded.image.tobytes() == decode(whole, LIMITS).image.tobytes()


def test_confined_decoder_completes_a_jpeg_and_reports_it() -> None:
    config = DecodeConfig(Preprocess(32, "stretch", (0, 0, 0), (1, 1, 1)), LIMITS)
    whole = encoded(gradient(640, 480))
    with closing(Sandbox(config, 1, 5.0)) as sandbox:
        shorter, intact = sandbox(whole[:-2]), sandbox(whole)
        assert (shorter.warnings, intact.warnings) == ((ImageWarning.JPEG_END_MISSING,), ())
        assert shorter.image.tobytes() == intact.image.tobytes()
        with pytest.raises(ImageRejectedError):
            sandbox(whole[:-200])


def test_training_takes_a_jpeg_without_its_end(tmp_path: Path) -> None:
    whole = encoded(gradient())
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "shorter.jpg").write_bytes(whole[:-2])
    (tmp_path / "cut.jpg").write_bytes(whole[:-100])
    assert open_rgb(tmp_path / "shorter.jpg").tobytes() == open_rgb(tmp_path / "whole.jpg").tobytes()
    with pytest.raises(OSError, match="truncated"):
        open_rgb(tmp_path / "cut.jpg")
