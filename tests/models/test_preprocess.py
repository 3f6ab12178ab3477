"""Resizing, cutting, padding and views, and how they are described."""

from dataclasses import asdict, replace
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from models.network.preprocess import Colour, Fit, Preprocess, Resampling
from tests.images import gradient

PLAIN = Preprocess(30, "stretch", (0, 0, 0), (1, 1, 1))
FITS = get_args(Fit)
DESCRIPTIONS = st.builds(
    Preprocess,
    size=st.integers(1, 40),
    fit=st.sampled_from(FITS),
    mean=st.just((1.0, 2.0, 3.0)),
    std=st.just((1.0, 1.0, 1.0)),
    crop_ratio=st.floats(0.05, 1),
    pad_colour=st.tuples(*[st.integers(0, 255)] * 3),
    resampling=st.sampled_from(get_args(Resampling)),
    colour=st.sampled_from(get_args(Colour)),
    decode_scale=st.sampled_from([1.0, 1.25, 2.0]),
)


def prepare(image: Image.Image, size: int, fit: Fit, **options: Any) -> np.typing.NDArray[np.uint8]:
    return replace(PLAIN, size=size, fit=fit, **options)(image)


def bands(width: int, height: int) -> Image.Image:
    """Draw red in the left third, green in the middle, blue at the right."""
    image = Image.new("RGB", (3, 1))
    for at, colour in enumerate(((255, 0, 0), (0, 255, 0), (0, 0, 255))):
        image.putpixel((at, 0), colour)
    return image.resize((width, height), Image.Resampling.NEAREST)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("source", [(300, 100), (100, 300), (5, 5), (1, 1), (2000, 3), (1, 500), (500, 1)])
@pytest.mark.parametrize("ratio", [1.0, 0.875, 0.1])
def test_preprocess_returns_squares(fit: Fit, source: tuple[int, int], ratio: float) -> None:
    preprocess = replace(PLAIN, size=24, fit=fit, crop_ratio=ratio, pad_colour=(7, 8, 9))
    found = preprocess(Image.new("RGB", source, (7, 8, 9)))
    assert found.shape == preprocess.shape == (24 * preprocess.views, 24, 3)
    assert found.dtype == np.uint8
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[7, 8, 9]]


def test_stretch_keeps_the_whole_image() -> None:
    found = prepare(bands(300, 100), 30, "stretch")
    assert [found[15, at].argmax() for at in (3, 15, 27)] == [0, 1, 2]


def test_crop_keeps_the_central_square() -> None:
    found = prepare(bands(300, 100), 30, "crop")
    assert set(found[:, 3:27].argmax(axis=2).ravel()) == {1}
    upright = prepare(bands(300, 100).rotate(90, expand=True), 30, "crop")
    assert set(upright[3:27].argmax(axis=2).ravel()) == {1}


def test_crop_ratio_cuts_a_share_of_the_central_square() -> None:
    image = gradient(100, 80)
    cut = image.crop((15, 5, 85, 75)).resize((35, 35), Image.Resampling.BILINEAR)
    found = prepare(image, 35, "crop", crop_ratio=0.875)
    # At the edge, the filter also reads pixels outside.
    np.testing.assert_array_equal(found[1:-1, 1:-1], np.asarray(cut)[1:-1, 1:-1])


def test_pad_keeps_proportions_and_the_whole_image() -> None:
    found = prepare(bands(300, 100), 30, "pad", pad_colour=(1, 2, 3))
    assert [found[15, at].argmax() for at in (3, 15, 27)] == [0, 1, 2]
    for edge in (found[:10], found[20:]):
        assert np.unique(edge.reshape(-1, 3), axis=0).tolist() == [[1, 2, 3]]


def test_two_views_are_stacked() -> None:
    image = gradient(100, 60)
    both = prepare(image, 30, "stretch+crop", crop_ratio=0.875)
    np.testing.assert_array_equal(both[:30], prepare(image, 30, "stretch"))
    np.testing.assert_array_equal(both[30:], prepare(image, 30, "crop", crop_ratio=0.875))


def test_resampling_filters_differ() -> None:
    image = gradient(100, 60)
    found = {prepare(image, 30, "stretch", resampling=filter_).tobytes() for filter_ in get_args(Resampling)}
    assert len(found) == len(get_args(Resampling))


def test_image_of_the_right_size_is_unchanged() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    for fit in ("stretch", "crop", "pad"):
        np.testing.assert_array_equal(prepare(Image.fromarray(pixels), 24, fit), pixels)


def test_downscaling_averages_pixels() -> None:
    """A checkerboard of single pixels becomes grey."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = prepare(Image.fromarray(board).convert("RGB"), 16, "stretch")
    assert np.abs(found.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("fit", FITS)
def test_what_a_person_chose_is_shown_whole(fit: Fit) -> None:
    preprocess = replace(PLAIN, fit=fit, crop_ratio=0.5)
    found = preprocess(bands(300, 100), whole=True)
    assert found.shape == preprocess.shape
    for view in range(preprocess.views):
        assert [found[30 * view + 15, at].argmax() for at in (3, 15, 27)] == [0, 1, 2]


def test_a_cut_needs_a_larger_image_of_the_decoder() -> None:
    assert replace(PLAIN, size=224).decode_side == 224
    assert replace(PLAIN, size=224, fit="pad", crop_ratio=0.5).decode_side == 224
    for fit in ("crop", "stretch+crop"):
        assert replace(PLAIN, size=224, fit=fit, crop_ratio=0.875).decode_side == 256


@given(DESCRIPTIONS)
@settings(deadline=None)
def test_description_is_read_back(preprocess: Preprocess) -> None:
    described = preprocess.to_dict()
    assert Preprocess.from_dict(described) == Preprocess.from_dict(asdict(preprocess)) == preprocess
    assert set(described) >= {"size", "fit", "mean", "std"}


def test_optional_fields_at_their_defaults_are_not_described() -> None:
    """So that the fingerprint of a checkpoint does not change with the fields of later versions."""
    assert set(PLAIN.to_dict()) == {"size", "fit", "mean", "std"}
    assert set(replace(PLAIN, crop_ratio=0.5).to_dict()) == {"size", "fit", "mean", "std", "crop_ratio"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sharpen": 2}, "fields that this version does not know: sharpen"),
        ({"fit": "squash"}, "preprocess.fit is 'squash', not one of stretch, crop"),
        ({"resampling": "nearest"}, "preprocess.resampling is 'nearest'"),
        ({"colour": "p3"}, "preprocess.colour is 'p3'"),
        ({"crop_ratio": 0}, "preprocess.crop_ratio is 0, not above 0"),
        ({"crop_ratio": 1.5}, "preprocess.crop_ratio is 1.5, not above 0"),
        ({"decode_scale": 0.5}, "preprocess.decode_scale is 0.5, less than 1"),
    ],
)
def test_unknown_descriptions_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Preprocess.from_dict(PLAIN.to_dict() | changed)
