"""Purge expired images from the trash in the background."""

import logging
import threading
from collections.abc import Callable

from app.errors import UnavailableError

log = logging.getLogger(__name__)

_POLL_S = 60.0


class TrashExpiry:
    """Context manager with a thread that looks every minute for expired images. Several processes may do so.

    Args:
        purge_batch: purges some expired images, and returns whether there were any.
    """

    def __init__(self, purge_batch: Callable[[], bool]) -> None:
        self._purge_batch, self._ending = purge_batch, threading.Event()
        self._thread = threading.Thread(target=self._run, name="trash", daemon=True)

    def __enter__(self) -> "TrashExpiry":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_POLL_S):
            try:
                while self._purge_batch() and not self._ending.is_set():
                    pass
            except UnavailableError as error:
                log.info("purging the trash is postponed: %s", error)
            except Exception:  # any error: if this thread ended, nothing would expire; it logs, and retries in a minute
                log.exception("purging the trash failed")
