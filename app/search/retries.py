"""Decoding for work on many pictures: where one cannot be decoded for now, it waits and tries again.

A service answers 503 instead and leaves the waiting to its clients.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from app.errors import DecodingUnavailableError
from app.search.decode import Crop
from app.search.prepare import Prepared, Preparer

log = logging.getLogger(__name__)

# A try takes a minute and more by itself where the machine is busy.
PAUSES_S = (5.0, 15.0, 60.0, 180.0)

T = TypeVar("T")


def retried(call: Callable[[], T]) -> T:
    """Calls, and calls again after each pause while pictures cannot be decoded.

    Raises:
        DecodingUnavailableError: they still cannot be after the last pause.
    """
    for pause in PAUSES_S:
        try:
            return call()
        except DecodingUnavailableError as error:
            log.warning("%s This command tries again in %g s.", error, pause)
            time.sleep(pause)
    return call()


class Retrying:
    """A preparer that tries again where a picture cannot be decoded for now."""

    def __init__(self, prepare: Preparer) -> None:
        self._prepare = prepare

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decodes a picture, or a crop of it; see `Preparer`."""
        return retried(lambda: self._prepare(data, thumbnail=thumbnail, crop=crop))
