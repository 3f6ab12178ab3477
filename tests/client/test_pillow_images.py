"""A Pillow image finds its own file, whatever its mode and orientation."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from lookalike_client import Lookalike, NewImage
from lookalike_client.images import read_image
from PIL import Image, ImageChops, ImageCms, ImageOps, ImageStat

from app.search.decode.image import DecodeLimits, decode
from tests.images import encoded, gradient
from tests.ingest.archives import zipped

MODES = ("RGB", "RGBA", "RGBX", "RGBa", "P", "CMYK", "YCbCr", "LAB", "HSV")
GREY_MODES = ("L", "LA", "La", "1", "PA", "I", "F", "I;16")


def patches(seed: int) -> Image.Image:
    colours = np.random.default_rng(seed).integers(0, 256, (4, 3, 3), np.uint8)
    return Image.fromarray(colours).resize((320, 240), Image.Resampling.BICUBIC)


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "LAB":
        lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
        return ImageCms.applyTransform(image, lab) or image
    if mode == "I;16":
        return image.convert("L").convert("I").point(lambda value: value * 257 + 0).convert("I;16")
    # Pillow converts to some modes from certain others alone.
    steps = {"RGBa": "RGBA", "La": "LA", "PA": "P", "I": "L", "F": "L"}
    return image.convert(steps.get(mode, "RGB")).convert(mode)


@pytest.fixture
def catalogue(client: TestClient) -> Iterator[Lookalike]:
    """The Python client, connected to the application in this process."""

    def respond(request: httpx.Request) -> httpx.Response:
        answer = client.request(request.method, str(request.url), content=request.read(), headers=dict(request.headers))
        return httpx.Response(answer.status_code, content=answer.content, headers=dict(answer.headers))

    with Lookalike("http://127.0.0.1", transport=httpx.MockTransport(respond)) as opened:
        yield opened


def test_image_finds_its_own_file_first(catalogue: Lookalike, tmp_path: Path) -> None:
    paths = [tmp_path / f"{at}.jpg" for at in range(8)]
    for at, path in enumerate(paths):
        path.write_bytes(encoded(patches(at), "JPEG", 1 + at))
    catalogue.add([NewImage(path, path.name) for path in paths])
    for path in paths:
        with Image.open(path) as image:
            best = catalogue.search(image, k=1).matches[0]
            assert (best.key, best.distance) == (path.name, 0)
            image.load()
            assert catalogue.search(image, k=1).matches[0].distance == 0
            # Pillow's conversions to some modes lose the EXIF orientation, so that the image must be upright before.
            upright = ImageOps.exif_transpose(image)
            for mode in MODES:
                best, second = catalogue.search(in_mode(upright, mode), k=2).matches
                assert (best.key, best.distance < second.distance) == (path.name, True), mode
            for orientation_kept in (image.copy(), image.convert("RGBA"), image.convert("CMYK")):
                assert catalogue.search(orientation_kept, k=1).matches[0].key == path.name


def test_grey_image_finds_its_own_file_first(catalogue: Lookalike, tmp_path: Path) -> None:
    paths = [tmp_path / f"{at}.png" for at in range(5)]
    for at, path in enumerate(paths):
        patches(at).convert("L").save(path)
    catalogue.add([NewImage(path, path.name) for path in paths])
    for path in paths:
        with Image.open(path) as image:
            for mode in GREY_MODES:
                assert catalogue.search(in_mode(image.convert("RGB"), mode), k=1).matches[0].key == path.name, mode


def test_results_have_warnings_of_damaged_files(catalogue: Lookalike) -> None:
    whole = encoded(gradient(111, 77))
    intact, shorter = catalogue.add([NewImage(whole, "whole"), NewImage(whole[:-2], "shorter")])
    assert (intact.warnings, len(shorter.warnings)) == ((), 1)
    assert catalogue.search(whole[:-2]).warnings == shorter.warnings
    job = catalogue.upload_archive(zipped({"a.jpg": whole[:-1], "notes.txt": b"none"}))
    while job.state == "running":
        job = catalogue.get_job(job.id)
    assert [(one.name, one.warning) for one in job.warnings] == [("a.jpg", shorter.warnings[0])]
    assert [(entry.count, entry.names) for entry in job.left_out.values()] == [(1, ("notes.txt",))]


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 9),
    orientation=st.integers(1, 8),
    mode=st.sampled_from(MODES),
    kind=st.sampled_from(["JPEG", "PNG", "WEBP"]),
)
def test_service_sees_a_converted_image_as_its_file(seed: int, orientation: int, mode: str, kind: str) -> None:
    data, limits = encoded(patches(seed), kind, orientation), DecodeLimits()
    with Image.open(BytesIO(data)) as image:
        assert read_image(image) == data
        converted = in_mode(ImageOps.exif_transpose(image).convert("RGB"), mode)
    seen, whole = decode(read_image(converted), limits).image, decode(data, limits).image
    assert seen.size == whole.size
    tolerance = 25 if mode == "P" else 4  # 216 colours, dithered
    assert max(ImageStat.Stat(ImageChops.difference(seen, whole)).mean) < tolerance
