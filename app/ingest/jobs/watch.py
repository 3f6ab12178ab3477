"""Stops work on a job when the service ends or the job is cancelled, in whichever process that was asked for."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.catalogue.database.sessions import Database
from app.errors import UnavailableError
from app.ingest.jobs import rows as jobs
from app.ingest.jobs.stop import Stop

log = logging.getLogger(__name__)

# How often the job's state is looked at.
_EVERY_S = 0.5


@contextmanager
def watched(database: Database, job_id: int, ending: threading.Event) -> Iterator[Stop]:
    """Yield what says whether work on a job has to stop, for the length of the block."""
    stop, done = Stop(), threading.Event()
    thread = threading.Thread(target=_watch, args=(database, job_id, ending, stop, done), name="job-watch", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        done.set()
        # Bounded: it may wait for a database that does not answer.
        thread.join(_EVERY_S)


def _watch(database: Database, job_id: int, ending: threading.Event, stop: Stop, done: threading.Event) -> None:
    while not done.wait(_EVERY_S):
        if ending.is_set() or not _goes_on(database, job_id):
            stop.request()
            return


def _goes_on(database: Database, job_id: int) -> bool:
    try:
        with database.asking() as session:
            return jobs.goes_on(session, job_id)
    except UnavailableError:
        return True  # work itself finds out, and says so
    except Exception:  # a job that cannot be stopped is worse than a line in the log
        log.exception("job %d: its state cannot be read", job_id)
        return True
