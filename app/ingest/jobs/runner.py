"""Works through archives in the background: one at a time, by one of the processes over a catalogue.

A job goes on where it was when its process ends: entries are settled in the archive's order and counted as they are.
Those that were under way at a kill are added again, which changes nothing, because keys and hashes settle additions.
A job whose process ends without saying why, several times in a row and without getting further, is given up; ends that
were planned, and waits for database or disk, do not count.
"""

import logging
import threading
from contextlib import suppress
from itertools import islice, takewhile

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Job
from app.errors import InvalidInputError, UnavailableError
from app.ingest.bulk import fill, unique
from app.ingest.jobs import rows as jobs
from app.ingest.jobs.files import JobFiles
from app.ingest.jobs.rows import NotMineError, State
from app.ingest.jobs.stop import Stop, Stoppable, StoppableTarget, StoppedError
from app.ingest.jobs.watch import watched
from app.ingest.sources.archive_members import ArchiveLimits, ArchiveRefusedError
from app.ingest.sources.archive_source import ArchiveReading, ArchiveSource
from app.ingest.sources.reader import ReaderFailedError, ReaderKilledError

log = logging.getLogger(__name__)

# How often a process looks for jobs that others were sent.
_EVERY_S = 2.0
# How long they rest after something went wrong that nobody foresaw.
_AGAIN_S = 10.0
# How long they rest after a reader was killed: perhaps there is memory again.
_AFTER_KILL_S = 5

Ended = tuple[State, str | None]


class JobRunner:
    """A thread that works through the jobs while the block lasts, whenever it is this process's turn."""

    def __init__(self, database: Database, files: JobFiles, target: StoppableTarget, limits: ArchiveLimits) -> None:
        self._database, self._files, self._target, self._limits = database, files, target, limits
        self._ending, self._woken = threading.Event(), threading.Event()
        self._owed = set[int]()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def __enter__(self) -> "JobRunner":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._thread.join()

    def end(self) -> None:
        """Begin to end; the block's end waits for it."""
        self._ending.set()
        self._woken.set()

    @property
    def ending(self) -> bool:
        """Whether the service is stopping."""
        return self._ending.is_set()

    def wake(self) -> None:
        """Says that there is a new job."""
        self._woken.set()

    def _run(self) -> None:
        while not self.ending:
            pause = _EVERY_S
            try:
                self._work_through()
            except UnavailableError as error:
                log.info("jobs wait: %s", error)
                pause = error.retry_after
            except Exception:  # nobody would start this thread again, and jobs would be taken and never worked on
                log.exception("jobs wait")
                pause = _AGAIN_S
            self._woken.wait(pause)
            self._woken.clear()

    def _work_through(self) -> None:
        """Works through all jobs that there are, unless another process does."""
        if self._next() is None:
            return
        with jobs.turn(self._database) as mine:
            while mine and not self.ending and (job := self._next()):
                self._work(job)
                self._files.settle()

    def _next(self) -> Job | None:
        with self._database.asking() as session:
            return jobs.next_job(session)

    def _work(self, job: Job) -> None:
        attempt = self._take_up(job)
        if attempt > jobs.MOST_ATTEMPTS:
            self._end(job, "failed", _given_up(job))
            return
        log.info(
            "job %d: an archive of %d bytes, from entry %d on, attempt %d",
            job.id,
            job.size_bytes,
            job.processed,
            attempt,
        )
        try:
            ended = self._result(job)
            if ended is not None:
                self._end(job, *ended)
                return
        except ReaderKilledError as error:
            self._wait_after_kill(job, attempt, error)
            return
        except BaseException:
            self._give_back(job)
            raise
        self._give_back(job)

    def _take_up(self, job: Job) -> int:
        with self._database.begin() as session:
            attempt = jobs.take_up(session, job.id, counts=job.id not in self._owed)
        self._owed.discard(job.id)
        return attempt

    def _give_back(self, job: Job) -> None:
        """Have this attempt not count; without a database, at the next one of this process."""
        try:
            with self._database.begin() as session:
                jobs.give_back(session, job.id)
        except UnavailableError:
            self._owed.add(job.id)

    def _wait_after_kill(self, job: Job, attempt: int, error: ReaderKilledError) -> None:
        if attempt >= jobs.MOST_ATTEMPTS:
            self._end(job, "failed", f"{error} That happened {attempt} times in a row. Split the archive.")
            return
        with self._database.begin() as session:
            jobs.wait_for(session, job.id, f"{error} It is tried again.")
        raise UnavailableError(str(error), retry_after=_AFTER_KILL_S) from error

    def _result(self, job: Job) -> Ended | None:
        """Work on a job; returns how it ended, None if it has not and somebody goes on with it later."""
        try:
            return self._fill(job)
        except StoppedError:
            return None if self.ending else ("cancelled", None)
        except NotMineError:
            log.warning("job %d: another process goes on with it", job.id)
            return None
        except UnavailableError as error:
            with suppress(UnavailableError), self._database.begin(from_reserve=True) as session:
                jobs.wait_for(session, job.id, str(error))
            raise
        except (ArchiveRefusedError, InvalidInputError, ReaderFailedError) as error:
            return "failed", str(error)
        except FileNotFoundError:
            return "failed", "The archive is gone from the data folder. Send it again."
        except ReaderKilledError:
            raise
        except Exception:  # whoever sent it must hear of it, whatever it is, and the jobs behind it must go on
            log.exception("job %d failed", job.id)
            return "failed", "Something went wrong here; the server's log says what."

    def _fill(self, job: Job) -> Ended | None:
        """Add what is left of an archive."""
        source = ArchiveSource(self._files.path(job.archive), self._limits)
        with watched(self._database, job.id, self._ending) as stop, source.reading(job.processed, stop) as reading:
            with self._database.begin() as session:
                jobs.set_total(session, job.id, reading.total)
            self._add(job, reading, stop)
            if stop.requested:
                raise StoppedError
            if reading.killed:
                raise ReaderKilledError(reading.damage)
            return ("failed", reading.damage) if reading.damage else ("done", None)

    def _add(self, job: Job, reading: ArchiveReading, stop: Stop) -> None:
        done = job.processed
        left = takewhile(lambda _: not stop.requested, islice(unique(reading), done, None))
        # What is under way at a stop has a little time to come to its end, and is counted then.
        for outcomes in fill(left, Stoppable(self._target, stop)):
            with self._database.begin() as session:
                if not jobs.advance(session, job.id, done, outcomes):
                    stop.request()
            done += len(outcomes)

    def _end(self, job: Job, state: State, error: str | None) -> None:
        with self._database.begin(from_reserve=True) as session:
            jobs.end(session, job.id, state, error)
        self._files.remove(job.archive)
        log.info("job %d: %s", job.id, error or state)


def _given_up(job: Job) -> str:
    return (
        f"Given up after {jobs.MOST_ATTEMPTS} attempts: each time the process that worked on it was killed or crashed "
        f"after entry {job.processed:,}. The server's log may say why; send the other entries without what comes there."
    )
