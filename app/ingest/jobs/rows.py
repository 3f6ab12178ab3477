"""Database rows of jobs: state, progress, rejections and warnings of an archive."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, insert, select, text, update
from sqlalchemy.orm import Session

from app.catalogue.database.locks import Lock
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import EntryWarning, Job, Rejection
from app.errors import NotFoundError
from app.ingest.bulk import Outcome
from app.ingest.uploads import OnDuplicate
from models.data.left_out import LeftOut

State = Literal["running", "done", "failed", "cancelled"]

# Rejections, and entries with warnings, recorded per job; an archive without images could have millions.
MAX_REJECTIONS = 1000
# Longer names and keys are cut; this is enough to identify the file.
_MAX_TEXT = 1000
# Attempts in a row that end unexpectedly and without progress before a job fails.
MAX_ATTEMPTS = 3


class JobTakenOverError(Exception):
    """Another process has taken over the job."""


def create_job(session: Session, archive: str, size: int, on_duplicate: OnDuplicate = OnDuplicate.ADD) -> Job:
    """Create a job for an archive."""
    job = Job(archive=archive, size_bytes=size, on_duplicate=on_duplicate.value)
    session.add(job)
    session.flush()
    session.refresh(job)
    return job


def find_job(session: Session, job_id: int) -> Job:
    """Look up a job.

    Raises:
        NotFoundError: there is no job with this id.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError("job", job_id)
    return job


def list_jobs(session: Session, *, before: int | None, limit: int) -> Sequence[Job]:
    """List jobs with ids below `before`, latest first."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    return session.scalars(query if before is None else query.where(Job.id < before)).all()


def rejections(session: Session, job_id: int) -> Sequence[Rejection]:
    """List a job's rejected entries, in the archive's order."""
    return session.scalars(select(Rejection).where(Rejection.job_id == job_id).order_by(Rejection.entry_number)).all()


def entry_warnings(session: Session, job_id: int) -> Sequence[EntryWarning]:
    """List a job's entries that were added with a warning, in the archive's order."""
    query = select(EntryWarning).where(EntryWarning.job_id == job_id)
    return session.scalars(query.order_by(EntryWarning.entry_number)).all()


def cancel(session: Session, job_id: int) -> Job:
    """Cancel a job; a finished one stays as it is.

    Raises:
        NotFoundError: there is no job with this id.
    """
    session.execute(update(Job).where(Job.id == job_id, Job.state == "running").values(state="cancelled", error=None))
    return find_job(session, job_id)


def next_job(session: Session) -> Job | None:
    """The oldest running job."""
    return session.scalar(select(Job).where(Job.state == "running").order_by(Job.id).limit(1))


@dataclass(frozen=True)
class RunningTotals:
    """Totals of running jobs; `entries` covers archives that are already counted."""

    jobs: int
    entries: int
    processed: int


def running_totals(session: Session) -> RunningTotals:
    """Count running jobs and their entries."""
    counted = select(func.count(), func.sum(func.coalesce(Job.total, Job.processed)), func.sum(Job.processed))
    running, entries, settled = session.execute(counted.where(Job.state == "running")).one()
    return RunningTotals(running, int(entries or 0), int(settled or 0))


def archives_in_use(session: Session) -> set[str]:
    """Archives of running jobs."""
    return set(session.scalars(select(Job.archive).where(Job.state == "running")))


def is_running(session: Session, job_id: int) -> bool:
    """Whether a job exists and is running."""
    return session.scalar(select(Job.state).where(Job.id == job_id)) == "running"


def start_attempt(session: Session, job_id: int, *, counts: bool) -> int:
    """Start an attempt at a job; return the number of attempts in a row without progress.

    Until `give_back` or `advance`, the end of this process counts as a failed attempt.

    Args:
        session: a transaction.
        job_id: the job.
        counts: False if the previous attempt was counted and could not be given back.
    """
    taken = update(Job).where(Job.id == job_id).values(attempts=Job.attempts + int(counts))
    return session.execute(taken.returning(Job.attempts)).scalar_one()


def uncount_attempt(session: Session, job_id: int) -> None:
    """Uncount an attempt that ended for a reason outside the job."""
    given = update(Job).where(Job.id == job_id).values(attempts=func.greatest(Job.attempts - 1, 0))
    session.execute(given)


def set_total(session: Session, job_id: int, total: int, left_out: LeftOut) -> None:
    """Record the number of entries, and what the archive leaves out."""
    found = {
        _storable(reason): {"count": examples.count, "names": [_storable(name) for name in examples.names]}
        for reason, examples in left_out.reasons.items()
    }
    session.execute(update(Job).where(Job.id == job_id).values(total=total, left_out=found))


def advance(session: Session, job_id: int, done: int, outcomes: Sequence[Outcome]) -> bool:
    """Record outcomes of the entries after the first `done`; return whether the job is still running.

    Progress resets the count of attempts.

    Raises:
        NotMineError: another process has made progress meanwhile.
    """
    counts = Counter[str](outcome.status for outcome in outcomes)
    counts["duplicates"] = sum(one.status == "created" and one.duplicate_of is not None for one in outcomes)
    counted = (
        update(Job)
        .where(Job.id == job_id, Job.processed == done)
        .values(
            processed=Job.processed + len(outcomes),
            attempts=func.least(Job.attempts, 1),
            error=None,
            **{name: _incremented(name, counts) for name in counts},
        )
        .returning(Job.state, Job.rejected)
    )
    row = session.execute(counted).one_or_none()
    if row is None:
        raise JobTakenOverError
    state, rejected = row
    new = [(number, one) for number, one in enumerate(outcomes, done) if one.reason is not None]
    recorded = new[: max(MAX_REJECTIONS - (rejected - len(new)), 0)]
    if recorded:
        session.execute(insert(Rejection), [_rejection(job_id, number, one) for number, one in recorded])
    _record_warnings(session, job_id, done, outcomes)
    return bool(state == "running")


def end(session: Session, job_id: int, state: State, error: str | None = None) -> None:
    """Record the end of a job, unless it was cancelled."""
    ended = update(Job).where(Job.id == job_id, Job.state == "running")
    session.execute(ended.values(state=state, error=error, total=func.coalesce(Job.total, Job.processed)))


def fail_running(connection: Connection, error: str) -> None:
    """Let all running jobs fail: their archives are not on this machine."""
    running = update(Job).where(Job.state == "running")
    connection.execute(running.values(state="failed", error=error, total=func.coalesce(Job.total, Job.processed)))


def set_waiting(session: Session, job_id: int, reason: str) -> None:
    """Record why a job is waiting."""
    session.execute(update(Job).where(Job.id == job_id, Job.state == "running").values(error=reason))


@contextmanager
def job_lock(database: Database) -> Iterator[bool]:
    """Try to take the job lock for the length of the block; yield whether it was taken.

    The lock belongs to the connection, so a killed process releases it.
    """
    with database.read_connection() as connection:
        # Detached, because the pool would keep the connection and its lock.
        connection.detach()
        yield bool(connection.scalar(text("SELECT pg_try_advisory_lock(:turn)"), {"turn": Lock.JOBS.value}))


def _incremented(name: str, counts: Counter[str]) -> object:
    return getattr(Job, name) + counts[name]


def _record_warnings(session: Session, job_id: int, done: int, outcomes: Sequence[Outcome]) -> None:
    flawed = [(number, one) for number, one in enumerate(outcomes, done) if one.warnings]
    if not flawed:
        return
    known = select(func.count()).select_from(EntryWarning).where(EntryWarning.job_id == job_id)
    recorded = flawed[: max(MAX_REJECTIONS - session.execute(known).scalar_one(), 0)]
    if recorded:
        session.execute(insert(EntryWarning), [_entry_warning(job_id, number, one) for number, one in recorded])


def _entry_warning(job_id: int, number: int, outcome: Outcome) -> dict[str, object]:
    texts = {"name": outcome.name, "key": outcome.key, "warning": " ".join(outcome.warnings)}
    return {"job_id": job_id, "entry_number": number, **{name: _storable(value) for name, value in texts.items()}}


def _rejection(job_id: int, number: int, outcome: Outcome) -> dict[str, object]:
    texts = {"name": outcome.name, "key": outcome.key, "reason": outcome.reason or ""}
    # PostgreSQL cannot store NUL characters, which may be the reason of the rejection.
    return {"job_id": job_id, "entry_number": number, **{name: _storable(value) for name, value in texts.items()}}


def _storable(value: str) -> str:
    return value[:_MAX_TEXT].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
