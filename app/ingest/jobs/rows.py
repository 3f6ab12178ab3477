"""Jobs as rows: what became of an archive that somebody sent, and how far it is."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import func, insert, select, text, update
from sqlalchemy.orm import Session

from app.catalogue.database.locks import Lock
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Job, Rejection
from app.errors import NotFoundError
from app.ingest.bulk import Outcome

State = Literal["running", "done", "failed", "cancelled"]

# The first so many are kept; an archive of other things than pictures has reasons without end.
MOST_REASONS = 1000
# Of names and keys that are too long to be used: enough to find the file by.
_LONGEST_WORDS = 1000
# So often in a row a job is taken up by processes that get no further with it and end without saying why.
MOST_ATTEMPTS = 3


class NotMineError(Exception):
    """Somebody else goes on with a job that this process was at work on."""


def create_job(session: Session, archive: str, size: int) -> Job:
    """Writes down that an archive is to be worked through."""
    job = Job(archive=archive, size_bytes=size)
    session.add(job)
    session.flush()
    session.refresh(job)
    return job


def find_job(session: Session, job_id: int) -> Job:
    """Returns a job.

    Raises:
        NotFoundError: there is no such job.
    """
    job = session.get(Job, job_id)
    if job is None:
        raise NotFoundError("job", job_id)
    return job


def list_jobs(session: Session, *, before: int | None, limit: int) -> Sequence[Job]:
    """Lists jobs, the latest first, those before one id."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    return session.scalars(query if before is None else query.where(Job.id < before)).all()


def rejections(session: Session, job_id: int) -> Sequence[Rejection]:
    """Lists what of a job could not be used, in the archive's order."""
    return session.scalars(select(Rejection).where(Rejection.job_id == job_id).order_by(Rejection.entry_number)).all()


def cancel(session: Session, job_id: int) -> Job:
    """Has a job stop, if it has not ended by itself.

    Raises:
        NotFoundError: there is no such job.
    """
    session.execute(update(Job).where(Job.id == job_id, Job.state == "running").values(state="cancelled", error=None))
    return find_job(session, job_id)


def next_job(session: Session) -> Job | None:
    """Returns the job that has waited longest."""
    return session.scalar(select(Job).where(Job.state == "running").order_by(Job.id).limit(1))


@dataclass(frozen=True)
class UnderWay:
    """The jobs that have not ended, together; `entries` are those that are counted."""

    jobs: int
    entries: int
    settled: int


def under_way(session: Session) -> UnderWay:
    """Counts the jobs that have not ended."""
    counted = select(func.count(), func.sum(func.coalesce(Job.total, Job.processed)), func.sum(Job.processed))
    running, entries, settled = session.execute(counted.where(Job.state == "running")).one()
    return UnderWay(running, int(entries or 0), int(settled or 0))


def archives_in_use(session: Session) -> set[str]:
    """Returns the archives that jobs still need."""
    return set(session.scalars(select(Job.archive).where(Job.state == "running")))


def goes_on(session: Session, job_id: int) -> bool:
    """Tell whether a job is there and has not ended."""
    return session.scalar(select(Job.state).where(Job.id == job_id)) == "running"


def take_up(session: Session, job_id: int, *, counts: bool) -> int:
    """Return which attempt in a row this is to get further with a job.

    Until `give_back` or `advance`, an end of this process counts as an attempt that failed.

    Args:
        session: a transaction.
        job_id: the job.
        counts: whether this is an attempt of its own, or one that was counted and could not be given back.
    """
    taken = update(Job).where(Job.id == job_id).values(attempts=Job.attempts + int(counts))
    return session.execute(taken.returning(Job.attempts)).scalar_one()


def give_back(session: Session, job_id: int) -> None:
    """Have an attempt not count: work on the job ended for a reason that is not the job's."""
    given = update(Job).where(Job.id == job_id).values(attempts=func.greatest(Job.attempts - 1, 0))
    session.execute(given)


def set_total(session: Session, job_id: int, total: int) -> None:
    """Writes down how many entries there are."""
    session.execute(update(Job).where(Job.id == job_id).values(total=total))


def advance(session: Session, job_id: int, done: int, outcomes: Sequence[Outcome]) -> bool:
    """Counts what became of the entries after the first `done`; tells whether the job shall go on.

    Earlier attempts count no longer: whatever ends this one, the next begins further on.

    Raises:
        NotMineError: somebody else has counted meanwhile.
    """
    counts = Counter[str](outcome.status for outcome in outcomes)
    counted = (
        update(Job)
        .where(Job.id == job_id, Job.processed == done)
        .values(
            processed=Job.processed + len(outcomes),
            attempts=func.least(Job.attempts, 1),
            error=None,
            **{name: _more(name, counts) for name in counts},
        )
        .returning(Job.state, Job.rejected)
    )
    found = session.execute(counted).one_or_none()
    if found is None:
        raise NotMineError
    state, rejected = found
    refused = [(place, one) for place, one in enumerate(outcomes, done) if one.reason is not None]
    kept = refused[: max(MOST_REASONS - (rejected - len(refused)), 0)]
    if kept:
        session.execute(insert(Rejection), [_rejection(job_id, place, one) for place, one in kept])
    return bool(state == "running")


def end(session: Session, job_id: int, state: State, error: str | None = None) -> None:
    """Writes down how a job ended, unless somebody has cancelled it."""
    ended = update(Job).where(Job.id == job_id, Job.state == "running")
    session.execute(ended.values(state=state, error=error, total=func.coalesce(Job.total, Job.processed)))


def wait_for(session: Session, job_id: int, reason: str) -> None:
    """Writes down what keeps a job from going on."""
    session.execute(update(Job).where(Job.id == job_id, Job.state == "running").values(error=reason))


@contextmanager
def turn(database: Database) -> Iterator[bool]:
    """Tells whether this process is the one to work through the jobs, for the length of the block.

    The turn goes with the connection, so a process that is killed has it no longer.
    """
    with database.asking_in_sql() as connection:
        # Back in the pool it would keep the turn.
        connection.detach()
        yield bool(connection.scalar(text("SELECT pg_try_advisory_lock(:turn)"), {"turn": Lock.JOBS.value}))


def _more(name: str, counts: Counter[str]) -> object:
    return getattr(Job, name) + counts[name]


def _rejection(job_id: int, place: int, outcome: Outcome) -> dict[str, object]:
    words = {"name": outcome.name, "key": outcome.key, "reason": outcome.reason or ""}
    # PostgreSQL keeps no NUL character, and this may be what the entry was refused for.
    return {"job_id": job_id, "entry_number": place, **{name: _storable(value) for name, value in words.items()}}


def _storable(words: str) -> str:
    return words[:_LONGEST_WORDS].replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
