"""Background runner of jobs: one archive at a time, by one process of a catalogue.

A job survives the end of its process: entries are processed in the archive's order, and progress is recorded by chunk.
Entries in progress at a kill are added again, which is idempotent by key and hash. A job fails after several attempts
in a row that end unexpectedly without progress; planned ends, and waits for database or disk, do not count.
"""

import logging
import threading
from contextlib import suppress
from itertools import islice, takewhile

from app.catalogue.database.job_tables import Job
from app.catalogue.database.sessions import Database
from app.errors import InvalidInputError, UnavailableError
from app.ingest.bulk import bulk_add, reject_duplicate_keys
from app.ingest.jobs import rows as jobs
from app.ingest.jobs.files import JobFiles
from app.ingest.jobs.rows import JobTakenOverError, State
from app.ingest.jobs.stop import Stop, Stoppable, StoppableTarget, StoppedError
from app.ingest.jobs.watch import watch_job
from app.ingest.sources.archives.members import ArchiveLimits, ArchiveRefusedError
from app.ingest.sources.archives.source import ArchiveReading, ArchiveSource
from app.ingest.sources.items import nothing_found
from app.ingest.sources.reader import ReaderFailedError, ReaderKilledError
from app.ingest.uploads import OnDuplicate

log = logging.getLogger(__name__)

# Interval of polling for jobs that other processes accepted.
_POLL_S = 2.0
# Pause after an unexpected error.
_RETRY_S = 10.0
# Pause after a reader was killed, until memory may be available again.
_AFTER_KILL_S = 5

Ended = tuple[State, str | None]


class JobRunner:
    """A thread that processes jobs during the block, whenever this process holds the job lock."""

    def __init__(self, database: Database, files: JobFiles, target: StoppableTarget, limits: ArchiveLimits) -> None:
        self._database, self._files, self._target, self._limits = database, files, target, limits
        self._ending, self._woken = threading.Event(), threading.Event()
        self._to_uncount = set[int]()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def __enter__(self) -> "JobRunner":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._thread.join()

    def stop(self) -> None:
        """Request the thread's end; leaving the block waits for it."""
        self._ending.set()
        self._woken.set()

    @property
    def stopping(self) -> bool:
        """Whether the service is stopping."""
        return self._ending.is_set()

    def notify(self) -> None:
        """Notify the thread of a new job."""
        self._woken.set()

    def _run(self) -> None:
        while not self.stopping:
            pause = _POLL_S
            try:
                self._process_all()
            except UnavailableError as error:
                log.info("jobs paused: %s", error)
                pause = error.retry_after
            except Exception:  # the only thread that processes jobs must survive any error
                log.exception("jobs paused by an unexpected error")
                pause = _RETRY_S
            self._woken.wait(pause)
            self._woken.clear()

    def _process_all(self) -> None:
        """Process all jobs, unless another process holds the job lock."""
        if self._next_job() is None:
            return
        with jobs.job_lock(self._database) as acquired:
            while acquired and not self.stopping and (job := self._next_job()):
                self._process(job)
                self._files.delete_orphans()

    def _next_job(self) -> Job | None:
        with self._database.read_session() as session:
            return jobs.next_job(session)

    def _process(self, job: Job) -> None:
        attempt = self._start_attempt(job)
        if attempt > jobs.MAX_ATTEMPTS:
            self._end(job, "failed", _too_many_attempts(job))
            return
        log.info(
            "job %d: started, %d bytes, from entry %d, attempt %d",
            job.id,
            job.size_bytes,
            job.processed,
            attempt,
        )
        try:
            ended = self._run_job(job)
            if ended is not None:
                self._end(job, *ended)
                return
        except ReaderKilledError as error:
            self._wait_after_kill(job, attempt, error)
            return
        except BaseException:
            self._uncount_attempt(job)
            raise
        self._uncount_attempt(job)

    def _start_attempt(self, job: Job) -> int:
        with self._database.transaction() as session:
            attempt = jobs.start_attempt(session, job.id, counts=job.id not in self._to_uncount)
        self._to_uncount.discard(job.id)
        return attempt

    def _uncount_attempt(self, job: Job) -> None:
        """Uncount this attempt; if the database is unavailable, at this process's next attempt."""
        try:
            with self._database.transaction() as session:
                jobs.uncount_attempt(session, job.id)
        except UnavailableError:
            self._to_uncount.add(job.id)

    def _wait_after_kill(self, job: Job, attempt: int, error: ReaderKilledError) -> None:
        if attempt >= jobs.MAX_ATTEMPTS:
            self._end(job, "failed", f"{error} This happened {attempt} times in a row. Split the archive.")
            return
        with self._database.transaction() as session:
            jobs.set_waiting(session, job.id, f"{error} The job is retried.")
        raise UnavailableError(str(error), retry_after=_AFTER_KILL_S) from error

    def _run_job(self, job: Job) -> Ended | None:
        """Process a job; return its final state, or None if it is resumed later."""
        try:
            return self._fill(job)
        except StoppedError:
            return None if self.stopping else ("cancelled", None)
        except JobTakenOverError:
            log.warning("job %d: taken over by another process", job.id)
            return None
        except UnavailableError as error:
            with suppress(UnavailableError), self._database.transaction(allow_low_space=True) as session:
                jobs.set_waiting(session, job.id, str(error))
            raise
        except (ArchiveRefusedError, InvalidInputError, ReaderFailedError) as error:
            return "failed", str(error)
        except FileNotFoundError:
            return "failed", "The archive is missing in the data folder. Upload it again."
        except ReaderKilledError:
            raise
        except Exception:  # an error in one job fails that job only
            log.exception("job %d failed", job.id)
            return "failed", "Internal error. See the server's log."

    def _fill(self, job: Job) -> Ended | None:
        """Add the remaining entries of an archive."""
        source = ArchiveSource(self._files.path(job.archive), self._limits)
        with watch_job(self._database, job.id, self._ending) as stop, source.open(job.processed, stop) as reading:
            with self._database.transaction() as session:
                jobs.set_total(session, job.id, reading.total, reading.left_out)
            if not reading.total:
                return "failed", nothing_found(reading.left_out)
            self._add(job, reading, stop)
            if stop.requested:
                raise StoppedError
            if reading.killed:
                raise ReaderKilledError(reading.damage)
            return ("failed", reading.damage) if reading.damage else ("done", None)

    def _add(self, job: Job, reading: ArchiveReading, stop: Stop) -> None:
        done = job.processed
        remaining = takewhile(lambda _: not stop.requested, islice(reject_duplicate_keys(reading), done, None))
        # Chunks in progress at a stop may finish within a grace period, and are recorded.
        for outcomes in bulk_add(remaining, Stoppable(self._target, stop, OnDuplicate(job.on_duplicate))):
            with self._database.transaction() as session:
                if not jobs.advance(session, job.id, done, outcomes):
                    stop.request()
            done += len(outcomes)

    def _end(self, job: Job, state: State, error: str | None) -> None:
        with self._database.transaction(allow_low_space=True) as session:
            jobs.end(session, job.id, state, error)
        self._files.remove(job.archive)
        log.info("job %d: %s", job.id, error or state)


def _too_many_attempts(job: Job) -> str:
    return (
        f"Failed after {jobs.MAX_ATTEMPTS} attempts: each time the process was killed or crashed after entry "
        f"{job.processed:,}. See the server's log. Upload the remaining entries without the next one."
    )
