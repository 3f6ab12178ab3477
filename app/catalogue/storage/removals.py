"""Delete originals that no picture uses, without waiting for a disk or bucket while the catalogue is locked.

Deleting files may take seconds, and no change can commit while the catalogue's row is locked. So a deletion has three
steps: `claim` records, under the lock, that the files of an unused original are about to be deleted; then the files
are deleted, without any lock; then `finish` records the outcome. The claim is in the database, so a crash after it
loses nothing: `due` lists what is left to delete.

An addition of the same bytes may run at any moment, in any process:

    checkpoint()      before it stores originals: the last claim's number; waits while its originals are being deleted
    store             originals that are not there
    require_stored()  under the lock, before its commit: no claim of its originals came after the checkpoint

If a claim came later, the original may be deleted after it was stored, and the addition starts again. `safe_at` is
when a deletion without an outcome can no longer be carried out: its process may have ended, and a bucket may carry
out a request after the client stopped waiting for the answer. Until then the same bytes cannot be added.

Claims and checks need the catalogue's row lock, see `changes.hold`. Knows nothing of files.
"""

import math
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, DateTime, bindparam, delete, func, literal, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.catalogue.database.locks import Lock
from app.catalogue.database.tables import Picture, Removal

# A claim without an outcome counts as abandoned after so long; deleting one original takes at most half of it.
LEASE_S = 300.0
# Rows that are done stay for additions that began before them; an addition that takes longer begins again.
_LONGEST_ADDITION, _KEPT = timedelta(hours=1), timedelta(hours=2)
_MOMENT = DateTime(timezone=True)


@dataclass(frozen=True)
class Claim:
    """Files to delete; `doubt` is until when an earlier deletion may still be carried out."""

    sha256: str
    number: int
    doubt: datetime | None
    at: float = field(default_factory=time.monotonic)

    @property
    def is_current(self) -> bool:
        """Whether there is time left to delete the files before the claim counts as abandoned."""
        return time.monotonic() - self.at < LEASE_S / 2


@dataclass(frozen=True)
class Checkpoint:
    """The state of deletions before an addition stores its originals.

    Attributes:
        number: the last claim's.
        at: the database's time.
        wait_s: seconds until none of the addition's originals can be deleted any more; 0 if none can.
    """

    number: int
    at: datetime
    wait_s: int


def claim(session: Session, hashes: Collection[str], owner: str, late_s: float) -> list[Claim]:
    """Claims those originals that no picture uses; the caller deletes their files after the commit.

    While a backup runs, they are queued instead. Originals that other work is deleting are left to it.

    Args:
        session: a transaction that holds the catalogue.
        hashes: which originals.
        owner: names the work that deletes them.
        late_s: seconds after which an unanswered deletion is no longer carried out.
    """
    used = set(session.scalars(select(Picture.sha256).where(Picture.sha256.in_(hashes)).distinct()))
    _settle_used(session, used)
    unused = set(hashes) - used
    if not unused:
        return []
    if not session.scalars(select(func.pg_try_advisory_xact_lock_shared(Lock.BACKUP.value))).one():
        _queue(session, unused)
        return []
    found = session.execute(
        select(Removal.sha256, Removal.safe_at, ~Removal.done & Removal.owner.is_not(None)).where(
            Removal.sha256.in_(unused), Removal.safe_at > func.clock_timestamp()
        )
    ).all()
    doubts = {sha256: safe_at for sha256, safe_at, _ in found}
    mine = unused - {sha256 for sha256, _, under_way in found if under_way}
    return _take(session, mine, doubts, owner, late_s)


def finish(session: Session, claims: Sequence[Claim], *, deleted: bool, late_s: float = 0.0) -> None:
    """Records whether files were deleted; otherwise an unanswered deletion may be carried out for `late_s` seconds."""
    if not claims:
        return
    ended = (
        update(Removal)
        .where(Removal.sha256 == bindparam("its"), Removal.number == bindparam("its_number"))
        .values(done=deleted, owner=None, safe_at=func.greatest(_in(late_s), bindparam("doubt", type_=_MOMENT)))
    )
    rows = [{"its": one.sha256, "its_number": one.number, "doubt": one.doubt} for one in claims]
    session.connection().execute(ended, rows)
    session.execute(delete(Removal).where(Removal.done, Removal.safe_at < func.clock_timestamp() - literal(_KEPT)))


def abandon(session: Session, owner: str, late_s: float) -> None:
    """Gives up the claims of work that has ended: only what a bucket still carries out has to be waited for."""
    safe = func.least(Removal.safe_at, Removal.claimed_at + literal(timedelta(seconds=late_s)))
    session.execute(update(Removal).where(Removal.owner == owner, ~Removal.done).values(owner=None, safe_at=safe))


def due(session: Session, limit: int, after: str = "") -> list[str]:
    """Lists originals that are queued, could not be deleted, or whose claim was abandoned, by hash."""
    abandoned = Removal.owner.is_(None) | (Removal.safe_at <= func.clock_timestamp())
    listed = select(Removal.sha256).where(~Removal.done, abandoned, Removal.sha256 > after)
    return list(session.scalars(listed.order_by(Removal.sha256).limit(limit)))


def checkpoint(session: Session, hashes: Collection[str] | None) -> Checkpoint:
    """Reads what `require_stored` compares with, of some originals or all.

    It is one statement, since a claim in between would go unnoticed.
    """
    last = select(func.coalesce(func.max(Removal.number), 0)).scalar_subquery()
    latest = select(func.max(Removal.safe_at))
    until = (latest if hashes is None else latest.where(Removal.sha256.in_(hashes))).scalar_subquery()
    number, at, safe_at = session.execute(select(last, func.clock_timestamp(), until)).one()
    wait = 0.0 if safe_at is None else (safe_at - at).total_seconds()
    return Checkpoint(number, at, math.ceil(max(wait, 0.0)))


def require_stored(session: Session, hashes: Collection[str], since: Checkpoint) -> bool:
    """Tells whether originals that were stored after a checkpoint are there for good; pictures use them from now on."""
    if not hashes:
        return True
    claimed = select(Removal.sha256).where(Removal.sha256.in_(hashes), Removal.number > since.number).exists()
    too_long_ago = func.clock_timestamp() - literal(since.at, _MOMENT) > literal(_LONGEST_ADDITION)
    if session.scalars(select(claimed | too_long_ago)).one():
        return False
    _settle_used(session, hashes)
    return True


def _settle_used(session: Session, hashes: Collection[str]) -> None:
    if hashes:
        session.execute(update(Removal).where(Removal.sha256.in_(hashes), ~Removal.done).values(done=True, owner=None))


def _queue(session: Session, hashes: Collection[str]) -> None:
    new = _rows(hashes, None, func.clock_timestamp())
    changed: dict[str, Any] = {"number": new.excluded.number, "done": False}
    queued = new.on_conflict_do_update(index_elements=[Removal.sha256], set_=changed, where=Removal.done.is_(True))
    session.execute(queued)


def _take(
    session: Session, hashes: Collection[str], doubts: dict[str, datetime], owner: str, late_s: float
) -> list[Claim]:
    if not hashes:
        return []
    new = _rows(hashes, owner, _in(LEASE_S + late_s))
    changed: dict[str, Any] = {name: new.excluded[name] for name in ("number", "owner", "claimed_at", "done")}
    changed["safe_at"] = func.greatest(Removal.safe_at, new.excluded.safe_at)
    upsert = new.on_conflict_do_update(index_elements=[Removal.sha256], set_=changed)
    taken = session.execute(upsert.returning(Removal.sha256, Removal.number))
    return [Claim(sha256, number, doubts.get(sha256)) for sha256, number in taken]


def _rows(hashes: Collection[str], owner: str | None, safe_at: ColumnElement[datetime]) -> postgresql.Insert:
    row = {"owner": owner, "claimed_at": func.clock_timestamp(), "safe_at": safe_at, "done": False}
    return postgresql.insert(Removal).values([{"sha256": sha256, **row} for sha256 in sorted(hashes)])


def _in(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + literal(timedelta(seconds=seconds))
