"""Write the code file in the background, when the code table has changed enough, and at the end of a process."""

import logging
import os
import threading
import time

from app.catalogue.code_files.store import CodeFileStore
from app.catalogue.database.sessions import Database
from app.catalogue.index_sync import IndexSync
from app.errors import ModelSwitchedError, UnavailableError
from app.search.local.index import LocalIndex

log = logging.getLogger(__name__)

# Catalogues with fewer images are read from the database in an instant.
MIN_IMAGES = 10_000
# A new file is written after this share of the rows has changed; reading so few from the database takes little time.
_CHANGED_SHARE = 0.01
# At the end of a process after this many.
_CHANGED_AT_END = 1000
_POLL_S, _RETRY_S = 10.0, 600.0
_LOWEST_PRIORITY = 19


class CodeFileWriter:
    """Context manager with a thread that keeps the code file of an index version recent."""

    def __init__(self, database: Database, index_sync: IndexSync, index: LocalIndex, store: CodeFileStore) -> None:
        self._database, self._index_sync, self._index, self._store = database, index_sync, index, store
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="code-file", daemon=True)

    def __enter__(self) -> "CodeFileWriter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        self._write_if_due(_CHANGED_AT_END)

    def _run(self) -> None:
        # Of this thread alone, on Linux.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
        not_before = 0.0
        while not self._ending.wait(_POLL_S):
            changed = max(MIN_IMAGES, int(_CHANGED_SHARE * len(self._index)))
            if time.monotonic() >= not_before and not self._write_if_due(changed):
                not_before = time.monotonic() + _RETRY_S

    def _write_if_due(self, changed: int) -> bool:
        """Write the file if so many rows have changed; return False if that failed."""
        try:
            if len(self._index) >= MIN_IMAGES and self._index.is_settled and self._index.table.unsaved >= changed:
                return self._store.save(self._database, self._index_sync.at_one_seq)
        except (ModelSwitchedError, UnavailableError) as error:
            log.info("the code file is not written: %s", error)
            return False
        except Exception:  # any error: the file is a copy, and the process works without it
            log.exception("writing the code file failed")
            return False
        return True
