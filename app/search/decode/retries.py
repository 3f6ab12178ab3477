"""Retries while decoding is unavailable, for commands that process many images.

The HTTP service responds 503 instead, and its clients retry.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from app.errors import DecodingUnavailableError

log = logging.getLogger(__name__)

# On a busy machine an attempt itself takes a minute or more.
PAUSES_S = (5.0, 15.0, 60.0, 180.0)

T = TypeVar("T")


def retry_while_unavailable(call: Callable[[], T], sleep: Callable[[float], object] = time.sleep) -> T:
    """Call a function, retrying with increasing pauses while decoding is unavailable.

    Use it in the main thread, so that Ctrl-C interrupts a pause, or pass a `sleep` that can be interrupted.

    Args:
        call: may be called several times.
        sleep: pauses for the given seconds; a true result stops the retries.

    Raises:
        DecodingUnavailableError: decoding is still unavailable after the last pause.
    """
    for pause in PAUSES_S:
        try:
            return call()
        except DecodingUnavailableError as error:
            log.warning("%s Retrying in %g s.", error, pause)
            if sleep(pause):
                raise
    return call()
