"""Trying again where pictures cannot be decoded for now, for commands that work on many of them.

A service answers 503 instead, and leaves the waiting to its clients.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from app.errors import DecodingUnavailableError

log = logging.getLogger(__name__)

# A try takes a minute and more by itself where the machine is busy.
PAUSES_S = (5.0, 15.0, 60.0, 180.0)

T = TypeVar("T")


def retried(call: Callable[[], T], sleep: Callable[[float], object] = time.sleep) -> T:
    """Calls, and calls again after each pause while pictures cannot be decoded.

    Call it in the main thread, so that Ctrl-C ends a pause, or give it a `sleep` that can be ended.

    Args:
        call: may be called several times.
        sleep: pauses for so many seconds; returns whether to give up.

    Raises:
        DecodingUnavailableError: they still cannot be after the last pause.
    """
    for pause in PAUSES_S:
        try:
            return call()
        except DecodingUnavailableError as error:
            log.warning("%s This command tries again in %g s.", error, pause)
            if sleep(pause):
                raise
    return call()
