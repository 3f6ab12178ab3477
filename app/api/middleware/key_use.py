"""Record when API keys were last used, without delaying a request.

Requests only note the time in memory. A thread writes it, at most once a minute for each key and process.
"""

import logging
import threading
import time
from datetime import UTC, datetime

from app.catalogue import keys
from app.catalogue.database.sessions import Database
from app.errors import UnavailableError

log = logging.getLogger(__name__)

# Seconds between two writes for one key, and between two looks for keys to write.
INTERVAL_S, POLL_S = 60.0, 1.0


class KeyUse:
    """When keys were last used. As a context manager it runs the thread that writes it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used, self._written, self._lock = dict[int, datetime](), dict[int, float](), threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-use", daemon=True)

    def __enter__(self) -> "KeyUse":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._write(float("inf"))

    def note(self, key_id: int) -> None:
        """Note that a key is used now."""
        with self._lock:
            self._used[key_id] = datetime.now(UTC)

    def _run(self) -> None:
        while not self._ending.wait(POLL_S):
            self._write(time.monotonic())

    def _write(self, now: float) -> None:
        """Write the keys that were not written for a while; after a failure they are written later."""
        with self._lock:
            due = {key_id: at for key_id, at in self._used.items() if self._is_due(key_id, now)}
        if not due:
            return
        try:
            with self._database.transaction() as session:
                keys.record_use(session, due)
        except UnavailableError as error:
            log.info("the last use of keys was not stored: %s", error)
            return
        except (
            Exception
        ):  # any error: if this thread ended, no later use would be stored; it logs, and retries in a second
            log.exception("the last use of keys was not stored")
            return
        with self._lock:
            self._used = {key_id: at for key_id, at in self._used.items() if due.get(key_id) != at}
        self._written |= dict.fromkeys(due, now)

    def _is_due(self, key_id: int, now: float) -> bool:
        return now >= self._written.get(key_id, -INTERVAL_S) + INTERVAL_S
