"""Records the HEIC files beside it. Needs an encoder: run it where `pillow-heif` is installed too.

    python -m tests.heic.record

`pillow-heif` is no dependency, not even of the tests: its wheel contains libx265, which is GPL.
"""

import importlib
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import Image

from tests.heic import path_of
from tests.images import as_stored, corners, gradient

QUALITY = 90
ORIENTATIONS = (1, 3, 6, 8)


def to_record() -> Iterator[tuple[Image.Image, int | None]]:
    """Yields every picture with its EXIF orientation."""
    for width, height in ((64, 48), (200, 150), (512, 512)):
        yield gradient(width, height), None
    for width, height in ((64, 48), (300, 200)):
        yield corners(width, height), None
    for orientation in ORIENTATIONS:
        yield corners(64, 48), orientation


def main() -> None:
    encoder: Any = importlib.import_module("pillow_heif")
    for picture, orientation in to_record():
        turned, options = as_stored(picture, orientation)
        buffer = BytesIO()
        encoder.from_pillow(turned).save(buffer, quality=QUALITY, **options)
        path_of(picture.info["name"], orientation).write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
