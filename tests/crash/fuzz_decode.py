"""Coverage-guided fuzzing of the decoder, with Atheris.

    python -m tests.crash.fuzz_decode SECONDS

The seeds are an image of each format, with a colour profile and an orientation where it can have them, and the hostile
files. Decoding may return an image or raise ImageRejectedError;
any other error ends the run and writes the input to a file. Pillow's C code is not instrumented.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["app.search.decode", "models.data", "PIL", "pi_heif"]):
    from app.errors import ImageRejectedError
    from app.search.decode.image import DecodeLimits, DecodeOptions, decode

from tests.colour_profiles import DISPLAY_P3, SRGB_GAMMA, cmyk, rgb
from tests.images import encoded, every_format, gradient
from tests.malicious_images import malicious_images

LIMITS = DecodeLimits(max_bytes=200_000, max_pixels=1_000_000)


def decode_or_refuse(data: bytes) -> None:
    """Decode bytes; ImageRejectedError is expected."""
    try:
        picture = decode(data, LIMITS, DecodeOptions(64, colour="srgb"))
    except ImageRejectedError:
        return
    assert picture.image.mode == "RGB"
    assert picture.width * picture.height <= LIMITS.max_pixels


def seeds() -> Iterator[bytes]:
    """Yield files to begin with."""
    yield from every_format(gradient()).values()
    profile = rgb(DISPLAY_P3, SRGB_GAMMA)
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        yield encoded(gradient(), kind, orientation=6, icc_profile=profile)
    yield encoded(gradient().convert("CMYK"), "JPEG", icc_profile=cmyk())
    yield from (data for _, data in malicious_images(steps=4))


def main() -> None:
    """Fuzz for the number of seconds in the first argument."""
    with TemporaryDirectory() as folder:
        for number, data in enumerate(seeds()):
            if len(data) <= LIMITS.max_bytes:
                (Path(folder) / str(number)).write_bytes(data)
        options = [f"-max_total_time={sys.argv[1]}", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *options, folder], decode_or_refuse)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
