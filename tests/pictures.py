"""Small pictures in memory, in every format that is decoded. Knows nothing of the service."""

from io import BytesIO

import pillow_heif
from PIL import ExifTags, Image

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "GIF": "image/gif",
    "BMP": "image/bmp",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}
# What turns an upright picture into the one that a camera held that way has stored.
STORED = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}
CORNERS = ((220, 30, 30), (30, 180, 30), (30, 30, 220), (240, 240, 40))


def corners(width: int = 64, height: int = 48) -> Image.Image:
    """Four quarters of different colours, so that every turn of the picture shows."""
    picture = Image.new("RGB", (2, 2))
    for at, colour in enumerate(CORNERS):
        picture.putpixel((at % 2, at // 2), colour)
    return picture.resize((width, height), Image.Resampling.NEAREST)


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """A smooth picture, red from the left, green from the top, blue from the other corner."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, across.rotate(180)))


def encoded(picture: Image.Image, kind: str = "JPEG", orientation: int | None = None, **options: object) -> bytes:
    """A picture as a file; with an orientation, stored as a camera would that was held that way."""
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
        for step in STORED[orientation]:
            picture = picture.transpose(step)
        options["exif"] = exif.tobytes()
    buffer = BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(picture).save(buffer, quality=90, **options)
    else:
        picture.save(buffer, kind, **options)
    return buffer.getvalue()


def every_format(picture: Image.Image) -> dict[str, bytes]:
    """The same picture as a file in each format."""
    return {kind: encoded(picture, kind) for kind in MEDIA_TYPES}
