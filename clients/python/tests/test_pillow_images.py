"""Pillow images are sent as their own file, or upright and without loss."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageOps

from lookalike_client import InvalidInputError
from lookalike_client.images import read_image

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
ORIENTATION = 0x0112
GREYS = (0, 1, 100, 255)


def picture(width: int = 40, height: int = 30) -> Image.Image:
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, across.rotate(180)))


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[ORIENTATION] = orientation
    return made


def saved(folder: Path, kind: str = "JPEG", orientation: int = 6) -> Path:
    path = folder / f"picture.{kind.lower()}"
    options = {} if kind in ("GIF", "BMP") else {"exif": exif(orientation)}
    picture().save(path, kind, **options)
    return path


def sent(image: Image.Image) -> Image.Image:
    decoded = Image.open(io.BytesIO(read_image(image)))
    assert decoded.format == "PNG"
    assert decoded.getexif().get(ORIENTATION, 1) == 1
    decoded.load()
    return decoded


def same(one: Image.Image, other: Image.Image, tolerance: int = 0) -> bool:
    difference = ImageChops.difference(one.convert("RGB"), other.convert("RGB")).tobytes()
    return one.size == other.size and max(difference) <= tolerance


@pytest.mark.parametrize("kind", FORMATS)
def test_unchanged_image_is_sent_as_its_file(tmp_path: Path, kind: str) -> None:
    path = saved(tmp_path, kind)
    data = path.read_bytes()
    with Image.open(path) as image:
        assert read_image(image) == data
        image.load()
        assert read_image(image) == data
    with Image.open(str(path)) as image:
        pass
    if image.tile:  # the pixels were not loaded before the file was closed
        assert read_image(image) == data


@pytest.mark.parametrize("kind", FORMATS)
def test_file_object_is_read_from_its_start_and_left_where_it_was(tmp_path: Path, kind: str) -> None:
    data = saved(tmp_path, kind).read_bytes()
    file = io.BytesIO(data)
    image = Image.open(file)
    at = file.tell()
    assert read_image(image) == data
    if image.tile:
        assert file.tell() == at
        image.load()
    # Now the bytes are no longer at hand.
    assert same(sent(image), ImageOps.exif_transpose(image))


def test_damaged_file_is_sent_as_it_is_until_it_is_loaded(tmp_path: Path) -> None:
    path = saved(tmp_path)
    path.write_bytes(path.read_bytes()[:-2])
    with Image.open(path) as image:
        assert read_image(image) == path.read_bytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("change", ["pixel", "paste", "thumbnail", "orientation", "exif", "transposed"])
def test_changed_image_is_sent_as_it_looks(tmp_path: Path, kind: str, change: str) -> None:
    image: Image.Image = Image.open(saved(tmp_path, kind))
    if change == "pixel":
        image.putpixel((3, 4), (255, 255, 255))
    elif change == "paste":
        image.paste((9, 9, 9), (0, 0, 10, 10))
    elif change == "thumbnail":
        image.thumbnail((20, 20))
    elif change == "orientation":
        image.getexif()[ORIENTATION] = 3
    elif change == "exif":
        del image.getexif()[ORIENTATION]
    else:
        ImageOps.exif_transpose(image, in_place=True)
    assert same(sent(image), ImageOps.exif_transpose(image))


def test_reduced_and_later_frames_are_not_the_file(tmp_path: Path) -> None:
    big = tmp_path / "big.jpg"
    picture(400, 300).save(big)
    with Image.open(big) as reduced:
        reduced.draft(None, (100, 75))
        assert sent(reduced).size == (100, 75)
    animation = tmp_path / "a.gif"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(animation, save_all=True, append_images=frames[1:])
    with Image.open(animation) as image:
        image.seek(1)
        assert same(sent(image), frames[1])


def test_replaced_and_deleted_files_are_not_sent(tmp_path: Path) -> None:
    path = saved(tmp_path, "PNG", 1)
    image = Image.open(path)
    image.load()
    picture(12, 12).save(path)
    assert same(sent(image), picture())
    path.unlink()
    assert same(sent(image), picture())


@pytest.mark.parametrize("kind", ["TIFF", "PPM", "ICO", "TGA"])
def test_file_of_a_format_that_the_service_does_not_read_is_converted(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "picture"
    picture(32, 32).save(path, kind)
    with Image.open(path) as image:
        assert same(sent(image), picture(32, 32))


def test_run_length_compressed_bitmap_is_converted(tmp_path: Path) -> None:
    palette = b"".join(bytes((value, value, value, 0)) for value in range(256))
    rows = bytes((4, 200, 0, 0)) + bytes((4, 100, 0, 1))  # two rows of four pixels, from below
    start = 14 + 40 + len(palette)
    head = struct.pack("<2sIHHI", b"BM", start + len(rows), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, len(rows), 0, 0, 256, 0)
    path = tmp_path / "picture.bmp"
    path.write_bytes(head + info + palette + rows)
    assert [sent(Image.open(path)).convert("L").getpixel((0, row)) for row in (0, 1)] == [100, 200]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "F", "RGBA"])
def test_copy_is_upright_by_its_exif(tmp_path: Path, orientation: int, mode: str) -> None:
    image = Image.open(saved(tmp_path, "PNG", orientation)).convert(mode)
    assert image.info["exif"]
    assert same(sent(image), ImageOps.exif_transpose(image).convert("RGB"), tolerance=1)


@pytest.mark.parametrize(
    ("mode", "tolerance"),
    [
        *((mode, 0) for mode in ("RGB", "RGBA", "RGBX", "L", "LA", "1", "P", "I", "F", "I;16", "CMYK", "HSV", "YCbCr")),
        ("LAB", 3),
    ],
)
def test_every_mode_looks_the_same(mode: str, tolerance: int) -> None:
    grey = mode in ("L", "LA", "I", "F", "I;16")
    image = (picture().convert("L") if grey else picture()).convert(mode)
    expected = picture().convert("L") if grey else image.convert("RGB")
    assert same(sent(image), expected, tolerance)


@pytest.mark.parametrize(("mode", "source"), [("RGBa", "RGBA"), ("La", "LA"), ("PA", "RGBA")])
def test_transparency_is_kept_in_every_mode(mode: str, source: str) -> None:
    if mode == "PA":
        image = picture().convert("P").convert("PA")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    else:
        whole = picture().convert(source)
        whole.putalpha(Image.linear_gradient("L").resize(whole.size).point(lambda value: 255 if value > 99 else 0))
        image = whole.convert(mode)
    expected = image.convert(source)
    assert sent(image).convert(source).tobytes() == expected.tobytes()


def test_transparent_colour_is_kept() -> None:
    for mode, colour in (("L", 7), ("RGB", (7, 7, 7)), ("P", 7)):
        image = Image.new(mode, (2, 1))
        image.putpixel((1, 0), colour)
        image.info["transparency"] = colour
        assert list(sent(image).convert("RGBA").getchannel("A").tobytes()) == [255, 0]


@pytest.mark.parametrize("mode", ["I", "F"])
@pytest.mark.parametrize(
    ("numbers", "greys"),
    [
        (GREYS, GREYS),
        ((0, 0x4080, 0x80FF, 0xFFFF), (0, 0x40, 0x80, 0xFF)),
        ((0, 0x408000, 0x80FF00, 0xFFFFFF), (0, 0x40, 0x80, 0xFF)),
        ((-9, 0, 255, 255), (0, 0, 255, 255)),
    ],
)
def test_numbers_are_grey_by_their_range(mode: str, numbers: tuple[int, ...], greys: tuple[int, ...]) -> None:
    image = Image.new(mode, (4, 1))
    for at, number in enumerate(numbers):
        image.putpixel((at, 0), number)
    assert greys_of(image) == list(greys)


def test_real_numbers_from_0_to_1_are_scaled_up() -> None:
    image = Image.new("F", (3, 1))
    for at, number in enumerate((0.0, 0.5, 1.0)):
        image.putpixel((at, 0), number)
    assert greys_of(image) == [0, 128, 255]


@pytest.mark.parametrize(("mode", "order"), [("I;16B", ">"), ("I;16L", "<"), ("I;16", "<")])
def test_16_bit_grey_in_any_order_of_bytes(mode: str, order: str) -> None:
    image = Image.frombytes(mode, (3, 1), struct.pack(f"{order}3H", 0, 0x4080, 0xFFFF))
    assert greys_of(image) == [0, 0x40, 0xFF]


def greys_of(image: Image.Image) -> list[int]:
    """Pixels as the service reads them: the high byte of 16-bit grey."""
    decoded = sent(image)
    data = decoded.tobytes()
    return list(data[1::2] if decoded.mode == "I;16" else data)


def test_profile_of_another_colour_space_is_not_sent() -> None:
    image = picture().convert("CMYK")
    image.info["icc_profile"] = b"of CMYK"
    assert "icc_profile" not in sent(image).info


def test_image_that_cannot_be_encoded_is_an_error() -> None:
    with pytest.raises(InvalidInputError, match=r"mode RGB and size \(0, 0\) cannot be encoded"):
        read_image(Image.new("RGB", (0, 0)))
