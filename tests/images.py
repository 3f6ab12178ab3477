"""Small test images in memory, in every supported format."""

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
# EXIF orientation → transformation from the upright image to the stored pixels.
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
    """Four quarters of different colours, so that rotations and reflections are visible."""
    image = Image.new("RGB", (2, 2))
    for at, colour in enumerate(CORNERS):
        image.putpixel((at % 2, at // 2), colour)
    return named(image.resize((width, height), Image.Resampling.NEAREST), "corners")


def gradient(width: int = 64, height: int = 48) -> Image.Image:
    """A smooth image with gradients of red, green and blue in different directions."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return named(Image.merge("RGB", (across, down, across.rotate(180))), "gradient")


def named(image: Image.Image, name: str) -> Image.Image:
    """Set the name of the recorded HEIC file of an image."""
    image.info["name"] = f"{name}-{image.width}x{image.height}"
    return image


def encoded(image: Image.Image, kind: str = "JPEG", orientation: int | None = None, **options: object) -> bytes:
    """Encode as a file; with an orientation, as a rotated camera stores it. HEIC files are recorded ones."""
    if kind == "HEIF":
        assert not options, "recorded files cannot be re-encoded with options"
        return recorded(image.info["name"], orientation)
    pixels, exif = as_stored(image, orientation)
    buffer = BytesIO()
    pixels.save(buffer, kind, **exif, **options)
    return buffer.getvalue()


def as_stored(image: Image.Image, orientation: int | None) -> tuple[Image.Image, dict[str, bytes]]:
    """Pixels as a rotated camera stores them, and EXIF with the orientation, as options of `save`."""
    if orientation is None:
        return image, {}
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for step in STORED[orientation]:
        image = image.transpose(step)
    return image, {"exif": exif.tobytes()}


def every_format(image: Image.Image) -> dict[str, bytes]:
    """The same image as a file in each format."""
    return {kind: encoded(image, kind) for kind in MEDIA_TYPES}
