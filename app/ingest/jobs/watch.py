"""Stop work on a job when the service ends or any process cancels the job."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.catalogue.database.sessions import Database
from app.errors import UnavailableError
from app.ingest.jobs import rows as jobs
from app.ingest.jobs.stop import Stop

log = logging.getLogger(__name__)

# Interval of polling the job's state.
_POLL_S = 0.5


@contextmanager
def watch_job(database: Database, job_id: int, ending: threading.Event) -> Iterator[Stop]:
    """Watch a job during the block; yield the stop that is requested when it ends."""
    stop, done = Stop(), threading.Event()
    thread = threading.Thread(target=_watch, args=(database, job_id, ending, stop, done), name="job-watch", daemon=True)
    thread.start()
    try:
        yield stop
    finally:
        done.set()
        # Bounded, because the thread may be waiting for an unresponsive database.
        thread.join(_POLL_S)


def _watch(database: Database, job_id: int, ending: threading.Event, stop: Stop, done: threading.Event) -> None:
    while not done.wait(_POLL_S):
        if ending.is_set() or not _is_running(database, job_id):
            stop.request()
            return


def _is_running(database: Database, job_id: int) -> bool:
    try:
        with database.read_session() as session:
            return jobs.is_running(session, job_id)
    except UnavailableError:
        return True  # the job itself reports this error
    except Exception:  # if this thread ended, the job could no longer be cancelled
        log.exception("job %d: cannot read its state", job_id)
        return True
