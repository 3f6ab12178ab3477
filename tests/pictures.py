"""Small pictures in memory, in every format that is decoded. Knows nothing of the service."""

from io import BytesIO

from PIL import ExifTags, Image

from tests.heic import recorded

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
    return named(picture.resize((width, height), Image.Resampling.NEAREST), "corners")


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """A smooth picture, red from the left, green from the top, blue from the other corner."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return named(Image.merge("RGB", (across, down, across.rotate(180))), "gradient")


def named(picture: Image.Image, name: str) -> Image.Image:
    """Notes on a picture what its recorded HEIC file is called."""
    picture.info["name"] = f"{name}-{picture.width}x{picture.height}"
    return picture


def encoded(picture: Image.Image, kind: str = "JPEG", orientation: int | None = None, **options: object) -> bytes:
    """A picture as a file; with an orientation, stored as by a camera held that way. HEIC files are recorded ones."""
    if kind == "HEIF":
        assert not options, "recorded files are as they were recorded"
        return recorded(picture.info["name"], orientation)
    turned, exif = stored(picture, orientation)
    buffer = BytesIO()
    turned.save(buffer, kind, **exif, **options)
    return buffer.getvalue()


def stored(picture: Image.Image, orientation: int | None) -> tuple[Image.Image, dict[str, bytes]]:
    """A picture as a camera stores it that is held so, and the EXIF that says how, as options of `save`."""
    if orientation is None:
        return picture, {}
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for step in STORED[orientation]:
        picture = picture.transpose(step)
    return picture, {"exif": exif.tobytes()}


def every_format(picture: Image.Image) -> dict[str, bytes]:
    """The same picture as a file in each format."""
    return {kind: encoded(picture, kind) for kind in MEDIA_TYPES}
