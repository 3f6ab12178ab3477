"""Commands over many pictures wait where one cannot be decoded for now, and give up only after several tries."""

import logging

import pytest

from app.errors import DecodingUnavailableError, PictureRefusedError
from app.search.decode import Crop, DecodeLimits
from app.search.prepare import InProcess, Prepared
from app.search.retries import PAUSES_S, Retrying
from tests.pictures import corners, encoded

PICTURE = encoded(corners(), "PNG")


class Busy:
    """Prepares pictures, but not for the first so many tries."""

    def __init__(self, failures: int) -> None:
        self._prepare = InProcess(32, lambda image: image, DecodeLimits())
        self.failures, self.tries = failures, 0

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        self.tries += 1
        if self.tries <= self.failures:
            raise DecodingUnavailableError("The machine is too busy.")
        return self._prepare(data, thumbnail=thumbnail, crop=crop)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.retries.PAUSES_S", (0.01,) * len(PAUSES_S))


def test_picture_is_decoded_once_the_machine_has_time(caplog: pytest.LogCaptureFixture) -> None:
    busy = Busy(len(PAUSES_S))
    made = Retrying(busy)(PICTURE, thumbnail=True, crop=Crop(0, 0, 8, 8))
    assert (made.image.size, made.thumbnail[:2]) == ((8, 8), b"\xff\xd8")
    assert busy.tries == len(PAUSES_S) + 1
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["The machine is too busy. This command tries again in 0.01 s."] * len(PAUSES_S)


def test_after_the_last_pause_the_error_says_why() -> None:
    busy = Busy(1000)
    with pytest.raises(DecodingUnavailableError, match="too busy"):
        Retrying(busy)(PICTURE)
    assert busy.tries == len(PAUSES_S) + 1


def test_refusals_are_not_tried_again() -> None:
    busy = Busy(0)
    with pytest.raises(PictureRefusedError, match="not a picture"):
        Retrying(busy)(b"text")
    assert busy.tries == 1
