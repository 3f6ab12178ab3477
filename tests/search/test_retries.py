"""Commands over many pictures wait where one cannot be decoded for now, and give up only after several tries."""

import logging
import threading

import pytest

from app.errors import DecodingUnavailableError, PictureRefusedError
from app.search.decode.retries import PAUSES_S, retried


class Busy:
    """Cannot decode for the first so many tries."""

    def __init__(self, failures: int) -> None:
        self.failures, self.tries = failures, 0

    def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self.failures:
            raise DecodingUnavailableError("The machine is too busy.")
        return "decoded"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.search.decode.retries.PAUSES_S", (0.01,) * len(PAUSES_S))


def test_picture_is_decoded_once_the_machine_has_time(caplog: pytest.LogCaptureFixture) -> None:
    busy = Busy(len(PAUSES_S))
    assert retried(busy) == "decoded"
    assert busy.tries == len(PAUSES_S) + 1
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["The machine is too busy. This command tries again in 0.01 s."] * len(PAUSES_S)


def test_after_the_last_pause_the_error_says_why() -> None:
    busy = Busy(1000)
    with pytest.raises(DecodingUnavailableError, match="too busy"):
        retried(busy)
    assert busy.tries == len(PAUSES_S) + 1


def test_refusals_are_not_tried_again() -> None:
    tries = []

    def refuse() -> None:
        tries.append(1)
        raise PictureRefusedError("image_damaged", "The picture is damaged.")

    with pytest.raises(PictureRefusedError):
        retried(refuse)
    assert len(tries) == 1


def test_pause_that_is_ended_is_the_last() -> None:
    busy, ending = Busy(1000), threading.Event()
    ending.set()
    with pytest.raises(DecodingUnavailableError):
        retried(busy, sleep=ending.wait)
    assert busy.tries == 1
