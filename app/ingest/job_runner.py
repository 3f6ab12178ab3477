"""Works through archives in the background: one at a time, by one of the processes over a catalogue.

A job goes on where it was when its process ends: entries are settled in the archive's order and counted as they are.
Those that were under way at a kill are added again, which changes nothing, because keys and hashes settle additions.
"""

import logging
import threading
from contextlib import suppress
from itertools import islice, takewhile

from app.catalogue.database import Database
from app.catalogue.tables import Job
from app.errors import InvalidInputError, UnavailableError
from app.ingest import jobs
from app.ingest.archive import Archive
from app.ingest.archive_members import ArchiveLimits, ArchiveRefusedError
from app.ingest.fill import Target, fill, unique
from app.ingest.job_files import JobFiles
from app.ingest.jobs import NotMineError, State

log = logging.getLogger(__name__)

# How often a process looks for jobs that others were sent.
_EVERY_S = 2.0
# How long they rest after something went wrong that nobody foresaw.
_AGAIN_S = 10.0


class JobRunner:
    """A thread that works through the jobs while the block lasts, whenever it is this process's turn."""

    def __init__(self, database: Database, files: JobFiles, target: Target, limits: ArchiveLimits) -> None:
        self._database, self._files, self._target, self._limits = database, files, target, limits
        self._ending, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def __enter__(self) -> "JobRunner":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._woken.set()
        self._thread.join()

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
                with self._database.asking() as session:
                    self._files.sweep(jobs.archives_in_use(session))

    def _next(self) -> Job | None:
        with self._database.asking() as session:
            return jobs.next_job(session)

    def _work(self, job: Job) -> None:
        log.info("job %d: an archive of %d bytes, from entry %d on", job.id, job.bytes, job.done)
        try:
            ended = self._fill(job)
        except NotMineError:
            log.warning("job %d: another process goes on with it", job.id)
            return
        except UnavailableError as error:
            with suppress(UnavailableError), self._database.begin(from_reserve=True) as session:
                jobs.wait_for(session, job.id, str(error))
            raise
        except (ArchiveRefusedError, InvalidInputError) as error:
            ended = "failed", str(error)
        except FileNotFoundError:
            ended = "failed", "The archive is gone from the data folder. Send it again."
        except Exception:  # whoever sent it must hear of it, whatever it is, and the jobs behind it must go on
            log.exception("job %d failed", job.id)
            ended = "failed", "Something went wrong here; the server's log says what."
        if ended is not None:
            self._end(job, *ended)

    def _fill(self, job: Job) -> tuple[State, str | None] | None:
        """Adds what is left of an archive; returns how the job ended, None if the service is stopping."""
        archive, stopping, done = Archive(self._files.path(job.archive), self._limits), threading.Event(), job.done
        with self._database.begin() as session:
            jobs.set_total(session, job.id, archive.count())
        left = takewhile(lambda _: not (stopping.is_set() or self.ending), islice(unique(archive), done, None))
        # What is under way when it stops is waited for, and counted.
        for outcomes in fill(left, self._target):
            with self._database.begin() as session:
                if not jobs.advance(session, job.id, done, outcomes):
                    stopping.set()
            done += len(outcomes)
        if stopping.is_set():
            return "cancelled", None
        if self.ending:
            return None
        return ("failed", archive.damage) if archive.damage else ("done", None)

    def _end(self, job: Job, state: State, error: str | None) -> None:
        with self._database.begin(from_reserve=True) as session:
            jobs.end(session, job.id, state, error)
        self._files.remove(job.archive)
        log.info("job %d: %s", job.id, error or state)
