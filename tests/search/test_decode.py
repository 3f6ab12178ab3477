"""Untrusted bytes decode to an upright RGB image or raise ImageRejectedError, and nothing else."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat

from app.errors import ImageRejectedError
from app.search.decode.image import Crop, DecodedImage, DecodeLimits, DecodeOptions, decode, thumbnail
from tests.images import CORNERS, MEDIA_TYPES, corners, encoded, every_format, gradient
from tests.malicious_images import chunk, gif, png, with_exif

LIMITS = DecodeLimits()
FILES = every_format(gradient())
FORMATS_WITH_ORIENTATION = ("JPEG", "PNG", "WEBP", "AVIF")


def outcome(data: bytes, limits: DecodeLimits = LIMITS, side: int | None = None) -> DecodedImage | ImageRejectedError:
    """Decode; return the image or the refusal. Raise warnings of decoders, which `decode` would report as damage."""
    try:
        return decode(data, limits, DecodeOptions(side))
    except ImageRejectedError as refused:
        reason: BaseException | None = refused
        while reason is not None:
            if isinstance(reason, Warning):
                raise reason from refused
            reason = reason.__cause__ or reason.__context__
        return refused


def refusal(data: bytes, limits: DecodeLimits = LIMITS) -> ImageRejectedError:
    refused = outcome(data, limits)
    assert isinstance(refused, ImageRejectedError)
    assert refused.reason.endswith(".")
    return refused


def difference(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two RGB images, 0 to 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


def colour(decoded: DecodedImage, x: int = 0, y: int = 0) -> tuple[int, ...]:
    value = decoded.image.getpixel((x, y))
    assert isinstance(value, tuple)
    return value


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_every_format_decodes_to_the_same_image(kind: str) -> None:
    decoded = decode(FILES[kind], LIMITS)
    assert (decoded.width, decoded.height) == decoded.image.size == (64, 48)
    assert (decoded.image.mode, decoded.media_type) == ("RGB", MEDIA_TYPES[kind])
    assert difference(decoded.image, gradient()) < 12  # GIF has few colours, AVIF and HEIC lose most
    assert not decoded.image.info


def test_mpo_decodes_as_jpeg() -> None:
    pair = encoded(gradient(), "MPO", save_all=True, append_images=[corners()])
    decoded = decode(pair, LIMITS)
    assert decoded.media_type == "image/jpeg"
    assert difference(decoded.image, gradient()) < 3


def test_avif_with_brand_mif1_is_recognised() -> None:
    data = FILES["AVIF"].replace(b"ftypavif", b"ftypmif1", 1)
    assert decode(data, LIMITS).media_type == "image/avif"


@pytest.mark.parametrize("kind", FORMATS_WITH_ORIENTATION)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_made_upright(kind: str, orientation: int) -> None:
    decoded = decode(encoded(corners(), kind, orientation), LIMITS)
    assert (decoded.width, decoded.height) == decoded.image.size == (64, 48)
    assert difference(decoded.image, corners()) < 6


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_made_upright(orientation: int) -> None:
    decoded = decode(encoded(corners(), "HEIF", orientation), LIMITS)
    assert decoded.image.size == (64, 48)
    assert difference(decoded.image, corners()) < 6


def test_reduced_jpeg_is_upright_and_reports_its_full_size() -> None:
    decoded = decode(encoded(corners(640, 480), "JPEG", 6), LIMITS, DecodeOptions(30))
    assert (decoded.width, decoded.height) == (640, 480)
    assert decoded.image.size == (80, 60)
    for at, expected in enumerate(CORNERS):
        found = colour(decoded, 20 + 40 * (at % 2), 15 + 30 * (at // 2))
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 6


@pytest.mark.parametrize(
    ("side", "shorter"), [(48, 60), (49, 120), (96, 120), (97, 240), (192, 240), (193, 480), (500, 480)]
)
def test_jpeg_is_reduced_to_at_least_one_and_a_quarter_times_the_side(side: int, shorter: int) -> None:
    assert min(decode(encoded(gradient(640, 480)), LIMITS, DecodeOptions(side)).image.size) == shorter


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_crop_is_relative_to_the_upright_image(kind: str, orientation: int) -> None:
    whole, crop = gradient(640, 480), Crop(100, 60, 300, 200)
    decoded = decode(encoded(whole, kind, orientation), LIMITS, crop=crop)
    assert (decoded.width, decoded.height) == (640, 480)
    assert difference(decoded.image, whole.crop((100, 60, 400, 260))) < 2


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("crop", [Crop(2000, 1000, 1000, 1500), Crop(0, 0, 4000, 3000), Crop(3999, 0, 1, 3000)])
def test_crop_of_a_reduced_jpeg_keeps_position_and_detail(crop: Crop, orientation: int) -> None:
    whole, side = gradient(4000, 3000), 224
    cut = decode(encoded(whole, "JPEG", orientation), LIMITS, DecodeOptions(side), crop).image
    right = whole.crop((crop.x, crop.y, crop.x + crop.width, crop.y + crop.height))
    assert min(cut.size) >= min(side, crop.width, crop.height)
    assert difference(cut.resize((64, 64)), right.resize((64, 64))) < 3


@pytest.mark.parametrize(
    "crop", [Crop(0, 0, 65, 48), Crop(64, 0, 1, 1), Crop(10, 40, 5, 9), Crop(10, 10, 0, 5), Crop(5, 5, 5, 0)]
)
@pytest.mark.parametrize("side", [None, 8])
def test_crop_outside_the_image_is_refused_with_both_sizes(crop: Crop, side: int | None) -> None:
    with pytest.raises(ImageRejectedError, match=f"{crop} .* is not within the image of 64 × 48 pixels") as refused:
        decode(FILES["JPEG"], LIMITS, DecodeOptions(side), crop)
    assert refused.value.code == "crop_outside_image"


def test_reduced_decoding_does_not_change_the_resized_image() -> None:
    data = encoded(gradient(640, 480), quality=90)
    small = [decode(data, LIMITS, DecodeOptions(side)).image.resize((56, 56)) for side in (None, 56)]
    assert difference(*small) < 1


@pytest.mark.parametrize("kind", [kind for kind in MEDIA_TYPES if kind != "JPEG"])
def test_only_jpegs_are_reduced(kind: str) -> None:
    assert decode(FILES[kind], LIMITS, DecodeOptions(4)).image.size == (64, 48)


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_decoding_is_deterministic_across_threads(kind: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        images = list(threads.map(lambda _: decode(FILES[kind], LIMITS, DecodeOptions(20)), range(8)))
    assert len({decoded.image.tobytes() for decoded in images}) == 1


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("1", 1, (255, 255, 255)),
        ("L", 100, (100, 100, 100)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGB", (10, 20, 30), (10, 20, 30)),
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127)),
        ("I;16", 0x4080, (0x40, 0x40, 0x40)),
        ("I;16", 0xFFFF, (255, 255, 255)),
    ],
)
def test_every_png_mode_becomes_rgb_on_white(
    mode: str, value: int | tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert colour(decode(encoded(Image.new(mode, (4, 4), value), "PNG"), LIMITS)) == expected


@pytest.mark.parametrize(("depth", "kind", "row"), [(16, 2, 6), (16, 4, 4), (16, 6, 8), (2, 0, 1), (4, 0, 1)])
def test_maximum_value_is_white_at_every_png_depth(depth: int, kind: int, row: int) -> None:
    data = png(1, 1, depth, kind, b"\x00" + b"\xff" * row)
    assert colour(decode(data, LIMITS)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("kind", "row", "transparent"),
    [(0, b"\x07", b"\x00\x07"), (2, b"\x01\x02\x03", b"\x00\x01\x00\x02\x00\x03")],
)
def test_transparent_png_colour_becomes_white(kind: int, row: bytes, transparent: bytes) -> None:
    data = png(1, 1, 8, kind, b"\x00" + row, chunk(b"tRNS", transparent))
    assert colour(decode(data, LIMITS)) == (255, 255, 255)


@pytest.mark.parametrize("alphas", [b"\x80\xff", b"\x00"])
def test_transparent_palette_is_composited_on_white(alphas: bytes) -> None:
    palette = chunk(b"PLTE", bytes((200, 0, 0, 0, 0, 200)))
    decoded = decode(png(2, 1, 8, 3, b"\x00\x00\x01", palette, chunk(b"tRNS", alphas)), LIMITS)
    share = alphas[0] / 255
    assert colour(decoded) == (round(255 - 55 * share), round(255 - 255 * share), round(255 - 255 * share))
    assert colour(decoded, 1) == (0, 0, 200)


def test_16_bit_grey_png_with_a_transparent_value_decodes() -> None:
    data = png(1, 1, 16, 0, b"\x00\x80\x00", chunk(b"tRNS", b"\x00\x01"))
    assert colour(decode(data, LIMITS)) == (128, 128, 128)


def test_inverted_cmyk_of_adobe_is_decoded_correctly() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=95)  # Pillow inverts, as Adobe does
    red, green, blue = colour(decode(data, LIMITS))
    assert red > 240
    assert max(green, blue) < 15


def test_transparent_gif_is_composited_on_white() -> None:
    layer = Image.new("P", (4, 4), 1)
    layer.putpalette([0, 0, 0, 0, 200, 0])
    layer.putpixel((0, 0), 0)
    decoded = decode(encoded(layer, "GIF", transparency=0), LIMITS)
    assert (colour(decoded), colour(decoded, 3, 3)) == ((255, 255, 255), (0, 200, 0))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "AVIF"])
def test_animation_decodes_to_its_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), value) for value in ((200, 0, 0), (0, 200, 0), (0, 0, 200))]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    decoded = decode(data, LIMITS)
    assert decoded.media_type == MEDIA_TYPES[kind]
    assert difference(decoded.image, frames[0]) < 3


def test_empty_file_is_refused() -> None:
    assert refusal(b"").code == "image_empty"


def test_too_many_bytes_are_refused() -> None:
    size = len(FILES["PNG"])
    assert refusal(FILES["PNG"], DecodeLimits(max_bytes=size - 1)).code == "image_too_large"
    decode(FILES["PNG"], DecodeLimits(max_bytes=size))


@pytest.mark.parametrize("kind", MEDIA_TYPES)
def test_too_many_pixels_are_refused(kind: str) -> None:
    assert refusal(FILES[kind], DecodeLimits(max_pixels=64 * 48 - 1)).code == "image_too_many_pixels"
    decode(FILES[kind], DecodeLimits(max_pixels=64 * 48))


@pytest.mark.parametrize("size", [(10_000, 9_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_declared_size_is_refused_without_a_warning(size: tuple[int, int]) -> None:
    assert refusal(png(*size, 8, 0, b"")).code == "image_too_many_pixels"


@pytest.mark.parametrize("frame", [(0, 0, 9_900, 9_900), (60_000, 60_000, 1, 1)])
def test_gif_size_includes_the_frame_beyond_the_screen(frame: tuple[int, int, int, int]) -> None:
    assert refusal(gif((1, 1), frame)).code == "image_too_many_pixels"
    assert decode(gif((1, 1), (2, 3, 1, 1)), LIMITS).image.size == (3, 4)


def test_heic_larger_than_declared_is_refused() -> None:
    honest = encoded(gradient(512, 512), "HEIF")
    size = honest.index(b"ispe") + 8
    lying = honest[:size] + struct.pack(">II", 64, 64) + honest[size + 8 :]
    assert refusal(lying, DecodeLimits(max_pixels=64 * 64)).code in {"image_damaged", "image_too_many_pixels"}


@pytest.mark.parametrize("kind", ["TIFF", "ICO", "PPM", "TGA", "PCX", "EPS", "JPEG2000", "PDF"])
def test_other_formats_are_refused_even_if_pillow_supports_them(kind: str) -> None:
    assert refusal(encoded(gradient(), kind)).code == "image_format_unsupported"


@pytest.mark.parametrize("data", [b"B", b"BM and other words", b"<svg/>", b"\xff\xd8", bytes(64), b"RIFF"])
def test_other_files_are_refused(data: bytes) -> None:
    assert refusal(data).code == "image_format_unsupported"


def test_run_length_compressed_bmp_is_refused() -> None:
    bmp = bytearray(encoded(gradient().convert("P"), "BMP"))
    bmp[30] = 1
    assert refusal(bytes(bmp)).code == "image_format_unsupported"


@pytest.mark.parametrize("kind", MEDIA_TYPES)
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.85])
def test_truncated_file_is_refused(kind: str, share: float) -> None:
    data = FILES[kind]
    assert refusal(data[: int(len(data) * share)]).code == "image_damaged"


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x01\x1a\0\x05\0\0\0\x01\xff\xff\xff\xff" * 3,
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
        b"Exif\0\0" + b"\xff" * 100,
    ],
)
def test_malformed_exif_is_ignored_without_a_warning(exif: bytes) -> None:
    assert (
        decode(with_exif(FILES["JPEG"], exif), LIMITS).image.tobytes() == decode(FILES["JPEG"], LIMITS).image.tobytes()
    )


def test_malformed_exif_in_avif_is_ignored() -> None:
    good = b"II*\0\x08\0\0\0\x01\0" + b"\x1a\x01\x05\0\x01\0\0\0\x1a\0\0\0" + bytes(4) + b"\x48\0\0\0\x01\0\0\0"
    data = encoded(gradient(), "AVIF", exif=good)
    assert data.count(good) == 1
    bad = good.replace(b"\x1a\0\0\0", b"\xff\xff\xff\xff")
    assert difference(decode(data.replace(good, bad), LIMITS).image, gradient()) < 12


def test_malformed_png_animation_raises_no_warning() -> None:
    none = chunk(b"acTL", bytes(8))
    assert colour(decode(png(1, 1, 8, 0, b"\x00\x07", none, none), LIMITS)) == (7, 7, 7)


def test_compressed_png_text_and_profiles_are_not_decompressed() -> None:
    bomb = b"a\0\0" + zlib.compress(bytes(4_000_000))
    data = png(1, 1, 8, 0, b"\x00\x07", *(chunk(name, bomb) for name in (b"iCCP", b"zTXt", b"iTXt")))
    assert colour(decode(data, LIMITS)) == (7, 7, 7)


def test_png_data_beyond_the_pixels_is_ignored() -> None:
    decoded = decode(png(1, 1, 8, 0, b"\x00\x07" + bytes(4_000_000)), LIMITS)
    assert decoded.image.size == (1, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xd8" + b"\xff\xe0\0\2" * 60_000,
        b"\xff\xd8" + b"\xff" * 60_000,
        png(1, 1, 8, 0, b"\x00\x07", b"\0\0\0\0aaaa\0\0\0\0" * 60_000),
        gif((1, 1), (0, 0, 1, 1), head=b"!\xfe\0" * 60_000),
    ],
    ids=["jpeg segments", "jpeg padding", "png chunks", "gif extensions"],
)
def test_header_with_too_many_segments_is_refused(data: bytes) -> None:
    assert refusal(data).code == "image_damaged"


def test_progressive_jpeg_with_too_many_scans_is_refused() -> None:
    data = encoded(gradient(), progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    limits = DecodeLimits(max_pixels=64 * 48)
    assert decode(data, limits).image.size == (64, 48)
    assert refusal(data[:-2] + last * 40 + data[-2:], limits).code == "image_too_many_pixels"


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(
    kind=st.sampled_from(sorted(MEDIA_TYPES)),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=5),
    side=st.sampled_from([None, 8]),
)
def test_mutated_bytes_give_an_image_or_a_refusal(
    kind: str, edits: list[tuple[float, bytes]], side: int | None
) -> None:
    data = bytearray(FILES[kind])
    for place, value in edits:
        at = int(place * len(data))
        data[at : at + len(value)] = value
    result = outcome(bytes(data), DecodeLimits(max_pixels=1_000_000), side)
    if isinstance(result, DecodedImage):
        assert result.image.mode == "RGB"
        assert result.width * result.height <= 1_000_000


def test_thumbnail_is_small_deterministic_and_without_metadata() -> None:
    image = gradient(1024, 768)
    image.info.update(exif=b"Exif\0\0secret", icc_profile=b"secret", comment=b"secret")
    data = thumbnail(image)
    assert data == thumbnail(image)
    assert b"secret" not in data
    small = Image.open(BytesIO(data))
    assert (small.format, small.size) == ("JPEG", (512, 384))
    assert difference(small.convert("RGB"), gradient(1024, 768).resize((512, 384))) < 3


@pytest.mark.parametrize(("size", "expected"), [((40, 30), (40, 30)), ((2000, 1), (512, 1)), ((30, 1024), (15, 512))])
def test_thumbnail_fits_its_square_and_is_never_enlarged(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert Image.open(BytesIO(thumbnail(gradient(*size)))).size == expected
