"""Retries while decoding is unavailable."""

import logging
import threading

import pytest

from app.errors import DecodingUnavailableError, ImageRejectedError
from app.search.decode.retries import PAUSES_S, retry_while_unavailable


class Busy:
    """Raises for the first `failures` attempts."""

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


def test_call_is_retried_until_it_succeeds(caplog: pytest.LogCaptureFixture) -> None:
    busy = Busy(len(PAUSES_S))
    assert retry_while_unavailable(busy) == "decoded"
    assert busy.tries == len(PAUSES_S) + 1
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warned == ["The machine is too busy. Retrying in 0.01 s."] * len(PAUSES_S)


def test_error_is_raised_after_the_last_pause() -> None:
    busy = Busy(1000)
    with pytest.raises(DecodingUnavailableError, match="too busy"):
        retry_while_unavailable(busy)
    assert busy.tries == len(PAUSES_S) + 1


def test_refused_images_are_not_retried() -> None:
    tries = []

    def refuse() -> None:
        tries.append(1)
        raise ImageRejectedError("image_damaged", "The image is damaged.")

    with pytest.raises(ImageRejectedError):
        retry_while_unavailable(refuse)
    assert len(tries) == 1


def test_interrupted_pause_ends_the_retries() -> None:
    busy, ending = Busy(1000), threading.Event()
    ending.set()
    with pytest.raises(DecodingUnavailableError):
        retry_while_unavailable(busy, sleep=ending.wait)
    assert busy.tries == 1
