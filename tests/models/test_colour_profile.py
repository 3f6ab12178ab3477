"""Colours are converted to sRGB by the profile of an image."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from models.data.colour_profile import MAX_PROFILE_BYTES, ProfileError, to_srgb
from tests import colour_profiles as made
from tests.images import gradient

P3 = made.rgb(made.DISPLAY_P3, made.SRGB_GAMMA)
ADOBE = made.rgb(made.ADOBE_RGB, made.ADOBE_GAMMA)
PROPHOTO = made.rgb(made.PROPHOTO, made.PROPHOTO_GAMMA)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixel(image: Image.Image) -> tuple[int, ...]:
    return tuple(image.tobytes()[: len(image.getbands())])


def from_srgb(colour: tuple[int, int, int], profile: bytes) -> Image.Image:
    """One pixel of a colour of sRGB, in another profile's values."""
    source = ImageCms.createProfile("sRGB")
    target = ImageCms.getOpenProfile(BytesIO(profile))
    transform = ImageCms.buildTransform(source, target, "RGB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC)
    converted = ImageCms.applyTransform(Image.new("RGB", (1, 1), colour), transform)
    assert converted is not None
    return converted


@pytest.mark.parametrize("profile", [P3, ADOBE, PROPHOTO], ids=["P3", "Adobe RGB", "ProPhoto"])
@pytest.mark.parametrize("colour", [(200, 40, 40), (30, 160, 60), (20, 40, 200), (128, 128, 128), (250, 240, 200)])
def test_wide_colours_come_back_as_they_were(profile: bytes, colour: tuple[int, int, int]) -> None:
    wide = from_srgb(colour, profile)
    found = np.array(pixel(to_srgb(wide, profile)))
    # ProPhoto's 8 bits are coarse.
    assert np.abs(found - colour).max() <= (8 if profile == PROPHOTO else 3)
    if colour == (200, 40, 40):
        assert np.abs(np.array(pixel(wide)) - colour).max() > 10


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "LA", "CMYK", "1"])
def test_image_with_the_profile_of_srgb_is_unchanged(mode: str) -> None:
    image = gradient().convert(mode)
    if mode in ("RGB", "RGBA", "P"):
        assert to_srgb(image, SRGB) is image
    else:
        with pytest.raises(ProfileError, match="for other colours"):
            to_srgb(image, SRGB)


def test_alpha_stays() -> None:
    image = gradient().convert("RGBA")
    image.putalpha(77)
    found = to_srgb(image, P3)
    assert found.mode == "RGBA"
    assert set(found.getchannel("A").tobytes()) == {77}
    assert found.convert("RGB").tobytes() == to_srgb(gradient(), P3).tobytes()


def test_palettes_and_colour_keys_are_converted() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 30, 30, 30, 200, 30])
    image.putpixel((1, 0), 1)
    plain = to_srgb(image.convert("RGB"), P3)
    assert to_srgb(image, P3).tobytes() == plain.tobytes()
    image.info["transparency"] = 1
    found = to_srgb(image, P3)
    assert found.mode == "RGBA"
    assert list(found.getchannel("A").tobytes()) == [255, 0]


def test_grey_is_converted_by_a_profile_of_grey() -> None:
    image = Image.new("L", (1, 1), 128)
    assert pixel(to_srgb(image, made.grey(1.0))) == (188, 188, 188)
    with_alpha = Image.merge("LA", (image, Image.new("L", (1, 1), 9)))
    assert pixel(to_srgb(with_alpha, made.grey(1.0))) == (188, 188, 188, 9)


def test_inks_are_converted_by_a_profile_of_cmyk() -> None:
    cyan, black = Image.new("CMYK", (1, 1), (255, 0, 0, 0)), Image.new("CMYK", (1, 1), (0, 0, 0, 255))
    assert np.abs(np.subtract(pixel(to_srgb(cyan, made.cmyk())), (0, 255, 255))).max() <= 4
    assert np.abs(np.subtract(pixel(to_srgb(cyan, made.cmyk(0.5))), (128, 255, 255))).max() <= 4
    assert max(pixel(to_srgb(black, made.cmyk()))) <= 4


@pytest.mark.parametrize(
    ("image", "profile"),
    [
        (gradient(), b""),
        (gradient(), b"\0" * 200),
        (gradient(), P3[:200]),
        (gradient(), P3[:-50]),
        (gradient(), P3[:36] + b"xxxx" + P3[40:]),
        (gradient(), P3.ljust(MAX_PROFILE_BYTES + 1, b"\0")),
        (gradient(), made.cmyk()),
        (gradient(), made.grey(1.8)),
        (gradient().convert("CMYK"), P3),
        (gradient().convert("L"), P3),
        (gradient(), made.profile(b"RGB ", {})),
        (gradient(), made.profile(b"Lab ", {})),
    ],
)
def test_profile_that_cannot_be_used_is_an_error(image: Image.Image, profile: bytes) -> None:
    with pytest.raises(ProfileError):
        to_srgb(image, profile)


@given(
    st.sampled_from([P3, made.grey(1.8), made.cmyk(), SRGB]),
    st.lists(st.tuples(st.integers(0, 5000), st.binary(min_size=1, max_size=4)), max_size=4),
    st.integers(0, 200),
)
@settings(max_examples=300, deadline=None)
def test_damaged_profile_converts_or_is_an_error(
    profile: bytes, changes: list[tuple[int, bytes]], missing: int
) -> None:
    damaged = bytearray(profile)
    for at, data in changes:
        position = at % len(damaged)
        damaged[position : position + len(data)] = data[: len(damaged) - position]
    damaged = damaged[: len(damaged) - missing]
    for image in (gradient(), gradient().convert("L"), gradient().convert("CMYK")):
        try:
            assert to_srgb(image, bytes(damaged)).size == image.size
        except ProfileError:
            continue
