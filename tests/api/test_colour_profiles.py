"""Colour profiles over HTTP: converted, or ignored with a warning in the item; never an error."""

import io
import zipfile
from io import BytesIO

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from models.data.colour_profile import to_srgb
from tests import colour_profiles as made
from tests.api.job_helpers import send_archive, wait_until_ended
from tests.images import encoded, gradient

P3 = made.rgb(made.DISPLAY_P3, made.SRGB_GAMMA)
UNUSABLE = (b"none", P3[:300], made.cmyk(), bytes(5_000_000))
SENTENCE = "The colour profile is damaged, too large, or not for the colours of this image"


def wide(profile: bytes = P3) -> bytes:
    return encoded(gradient(), "PNG", icc_profile=profile)


def test_wide_colours_are_converted(client: TestClient) -> None:
    item = client.post("/index", files={"images": wide()}).json()["items"][0]
    assert (item["status"], item["warnings"]) == ("created", [])
    seen = Image.open(BytesIO(client.get(f"/images/{item['id']}/seen").content))
    expected = to_srgb(gradient(), P3)
    assert np.array_equal(np.asarray(seen), np.asarray(expected))
    # The same colours without a profile are another picture.
    for data, near in ((wide(), True), (encoded(expected, "PNG"), True), (encoded(gradient(), "PNG"), False)):
        found = client.post("/search", files={"image": data}).json()
        assert found["warnings"] == []
        assert (found["results"][0]["distance"] < 1e-5) == near


@pytest.mark.parametrize("profile", UNUSABLE, ids=["no profile", "cut", "of inks", "enormous"])
def test_profile_that_cannot_be_used_is_a_warning_of_the_item(client: TestClient, profile: bytes) -> None:
    item = client.post("/index", files={"images": wide(profile)}).json()["items"][0]
    assert item["status"] == "created"
    (warning,) = item["warnings"]
    assert warning.startswith(SENTENCE)
    found = client.post("/search", files={"image": wide(profile)}).json()
    assert found["warnings"] == [warning]
    assert found["results"][0]["distance"] == pytest.approx(0, abs=1e-5)
    # As without a profile.
    assert client.post("/search", files={"image": encoded(gradient(), "PNG")}).json()["results"][0]["distance"] < 1e-5


def test_job_reports_an_ignored_profile(client: TestClient) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("good.png", wide())
        file.writestr("bad.png", wide(b"none"))
    job = wait_until_ended(client, send_archive(client, archive.getvalue()))
    assert job["state"] == "done"
    (warning,) = job["warnings"]
    assert warning["name"] == "bad.png"
    assert warning["warning"].startswith(SENTENCE)
