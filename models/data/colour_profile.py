"""Convert images from the colours of their ICC profile to sRGB, by LittleCMS through Pillow's ImageCms."""

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

# Profiles for printing have up to 3 MB.
MAX_PROFILE_BYTES = 4_000_000
# A profile that changes no colour by more than this, of 255, counts as sRGB: several versions of it are in use, and
# their tables are rounded differently.
SRGB_TOLERANCE = 2
# Transforms are cached by their profile. Most catalogues have a few cameras' profiles.
_CACHED = 16
_RELATIVE = ImageCms.Intent.RELATIVE_COLORIMETRIC
# Without it, the black of a printed image would be a dark grey.
_FLAGS = ImageCms.Flags.BLACKPOINTCOMPENSATION
# Modes of an image's pixels by the colour space of a profile, and the modes that they become.
_MODES = {"RGB ": {"RGB": "RGB", "RGBA": "RGBA"}, "GRAY": {"L": "RGB"}, "CMYK": {"CMYK": "RGB"}}
_STEPS = np.arange(0, 256, 15, dtype=np.uint8)


class ProfileError(ValueError):
    """The profile is damaged, too large, or for other colours than the image's pixels."""


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an 8-bit image to sRGB; alpha stays as it is.

    Args:
        image: of any mode with 8 bits per channel.
        profile: the ICC profile of its colours.

    Returns:
        The image itself if the profile is that of sRGB.

    Raises:
        ProfileError: the profile cannot be used.
    """
    plain = _plain(image)
    transform = _transform(profile, "L" if plain.mode == "LA" else plain.mode)
    if transform is None:
        return image
    if plain.mode != "LA":
        return ImageCms.applyTransform(plain, transform) or plain
    luminance, alpha = plain.split()
    converted = ImageCms.applyTransform(luminance, transform) or luminance
    converted.putalpha(alpha)
    return converted


def _plain(image: Image.Image) -> Image.Image:
    """Replace palettes and colour keys by colours and alpha."""
    if image.has_transparency_data:
        return image.convert("LA" if image.mode in ("1", "L", "LA") else "RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image if image.mode in ("RGB", "CMYK") else image.convert("RGB")


@lru_cache(_CACHED)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the transform from a profile to sRGB; None if it changes no colour.

    Raises:
        ProfileError: the profile cannot be used.
    """
    if len(profile) > MAX_PROFILE_BYTES:
        raise ProfileError("too large")
    try:
        source, srgb = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        target = _MODES.get(source.profile.xcolor_space, {}).get(mode)
        transform = ImageCms.buildTransform(source, srgb, mode, target, _RELATIVE, _FLAGS) if target else None
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise ProfileError("damaged") from error
    if transform is None or target is None:
        raise ProfileError("for other colours than the image's")
    return None if _is_identity(transform, mode, target) else transform


def _is_identity(transform: ImageCms.ImageCmsTransform, mode: str, target: str) -> bool:
    """Whether a transform changes none of many colours that are spread over all by more than the tolerance."""
    if mode == "CMYK":
        return False
    if mode == "L":
        before = Image.fromarray(_STEPS[None])
    else:
        cube = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS, indexing="ij"), axis=-1)
        before = Image.fromarray(cube.reshape(len(_STEPS), -1, 3)).convert(mode)
    after = ImageCms.applyTransform(before, transform)
    difference = np.asarray(before.convert(target), np.int16) - np.asarray(after, np.int16)
    return int(np.abs(difference).max()) <= SRGB_TOLERANCE
