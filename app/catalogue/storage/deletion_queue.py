"""Queue of originals to delete, so that no file is deleted while the catalogue is locked.

Deleting files may take seconds, and no change can commit while the catalogue's row is locked. So a deletion has three
steps: `claim` records, under the lock, that the files of an unused original are about to be deleted; then the files
are deleted, without a lock; then `finish` records the outcome. Claims are in the database, so they survive a crash:
`due` lists the remaining deletions.

An addition of the same bytes may run at any time, in any process:

    checkpoint()      before it stores originals: the last claim's number; waits while its originals are being deleted
    store             missing originals
    require_stored()  under the lock, before its commit: no claim of its originals came after the checkpoint

If a claim came later, the original may be deleted after it was stored, and the addition starts again. `safe_at` is when
a deletion without an outcome can no longer be carried out: its process may have ended, and a bucket may carry out a
request after the client has timed out. Until then the same bytes cannot be added.

Claims and checks need the catalogue's row lock, see `changes.hold`.
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
from app.catalogue.database.tables import Image, Removal, TrashedImage

# Seconds after which a claim without an outcome counts as abandoned; a deletion takes at most half of that.
LEASE_S = 300.0
# Completed rows stay for additions that started before them; an addition that takes longer starts again.
_MAX_ADDITION, _RETENTION = timedelta(hours=1), timedelta(hours=2)
_MOMENT = DateTime(timezone=True)


@dataclass(frozen=True)
class Claim:
    """A claimed original; an earlier deletion of it may still be carried out until `doubt`."""

    sha256: str
    number: int
    doubt: datetime | None
    at: float = field(default_factory=time.monotonic)

    @property
    def is_current(self) -> bool:
        """Whether enough time is left to delete the files before the claim counts as abandoned."""
        return time.monotonic() - self.at < LEASE_S / 2


@dataclass(frozen=True)
class Checkpoint:
    """The state of deletions before an addition stores its originals.

    Attributes:
        number: number of the last claim.
        at: database time.
        wait_s: seconds until no deletion of the addition's originals can be in progress; 0 if none is.
    """

    number: int
    at: datetime
    wait_s: int


def claim(session: Session, hashes: Collection[str], owner: str, late_s: float) -> list[Claim]:
    """Claim those originals that no image uses; the caller deletes their files after the commit.

    Images in the trash use theirs. While a backup runs, originals are queued instead. Those that are already being
    deleted are skipped.

    Args:
        session: a transaction that holds the catalogue's row lock.
        hashes: candidates.
        owner: identifies the deletion.
        late_s: see `ImageStorage.max_delay_s`.
    """
    used = {
        sha256
        for table in (Image, TrashedImage)
        for sha256 in session.scalars(select(table.sha256).where(table.sha256.in_(hashes)).distinct())
    }
    _mark_used(session, used)
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
    doubt_by_hash = {sha256: safe_at for sha256, safe_at, _ in found}
    unclaimed = unused - {sha256 for sha256, _, under_way in found if under_way}
    return _claim_unused(session, unclaimed, doubt_by_hash, owner, late_s)


def finish(session: Session, claims: Sequence[Claim], *, deleted: bool, late_s: float = 0.0) -> None:
    """Record the outcome of a deletion; a failed one may still be carried out for `late_s` seconds."""
    if not claims:
        return
    statement = (
        update(Removal)
        .where(Removal.sha256 == bindparam("its"), Removal.number == bindparam("its_number"))
        .values(
            done=deleted,
            owner=None,
            safe_at=func.greatest(_seconds_from_now(late_s), bindparam("doubt", type_=_MOMENT)),
        )
    )
    rows = [{"its": one.sha256, "its_number": one.number, "doubt": one.doubt} for one in claims]
    session.connection().execute(statement, rows)
    session.execute(delete(Removal).where(Removal.done, Removal.safe_at < func.clock_timestamp() - literal(_RETENTION)))


def abandon(session: Session, owner: str, late_s: float) -> None:
    """Release the claims of an ended process; the storage may still carry out its requests for `late_s` seconds."""
    safe = func.least(Removal.safe_at, Removal.claimed_at + literal(timedelta(seconds=late_s)))
    session.execute(update(Removal).where(Removal.owner == owner, ~Removal.done).values(owner=None, safe_at=safe))


def due(session: Session, limit: int, after: str = "") -> list[str]:
    """List originals to delete, by hash: queued, failed, or with an abandoned claim."""
    abandoned = Removal.owner.is_(None) | (Removal.safe_at <= func.clock_timestamp())
    listed = select(Removal.sha256).where(~Removal.done, abandoned, Removal.sha256 > after)
    return list(session.scalars(listed.order_by(Removal.sha256).limit(limit)))


def checkpoint(session: Session, hashes: Collection[str] | None) -> Checkpoint:
    """Read the state of deletions of some originals or all, for `require_stored`.

    One statement, because a claim between two statements would be missed.
    """
    last = select(func.coalesce(func.max(Removal.number), 0)).scalar_subquery()
    latest = select(func.max(Removal.safe_at))
    until = (latest if hashes is None else latest.where(Removal.sha256.in_(hashes))).scalar_subquery()
    number, at, safe_at = session.execute(select(last, func.clock_timestamp(), until)).one()
    wait = 0.0 if safe_at is None else (safe_at - at).total_seconds()
    return Checkpoint(number, at, math.ceil(max(wait, 0.0)))


def require_stored(session: Session, hashes: Collection[str], since: Checkpoint) -> bool:
    """Return whether originals stored after a checkpoint are safe from deletion, and mark them as used."""
    if not hashes:
        return True
    claimed = select(Removal.sha256).where(Removal.sha256.in_(hashes), Removal.number > since.number).exists()
    expired = func.clock_timestamp() - literal(since.at, _MOMENT) > literal(_MAX_ADDITION)
    if session.scalars(select(claimed | expired)).one():
        return False
    _mark_used(session, hashes)
    return True


def _mark_used(session: Session, hashes: Collection[str]) -> None:
    if hashes:
        session.execute(update(Removal).where(Removal.sha256.in_(hashes), ~Removal.done).values(done=True, owner=None))


def _queue(session: Session, hashes: Collection[str]) -> None:
    new = _rows(hashes, None, func.clock_timestamp())
    changed: dict[str, Any] = {"number": new.excluded.number, "done": False}
    queued = new.on_conflict_do_update(index_elements=[Removal.sha256], set_=changed, where=Removal.done.is_(True))
    session.execute(queued)


def _claim_unused(
    session: Session, hashes: Collection[str], doubt_by_hash: dict[str, datetime], owner: str, late_s: float
) -> list[Claim]:
    if not hashes:
        return []
    new = _rows(hashes, owner, _seconds_from_now(LEASE_S + late_s))
    changed: dict[str, Any] = {name: new.excluded[name] for name in ("number", "owner", "claimed_at", "done")}
    changed["safe_at"] = func.greatest(Removal.safe_at, new.excluded.safe_at)
    upsert = new.on_conflict_do_update(index_elements=[Removal.sha256], set_=changed)
    taken = session.execute(upsert.returning(Removal.sha256, Removal.number))
    return [Claim(sha256, number, doubt_by_hash.get(sha256)) for sha256, number in taken]


def _rows(hashes: Collection[str], owner: str | None, safe_at: ColumnElement[datetime]) -> postgresql.Insert:
    row = {"owner": owner, "claimed_at": func.clock_timestamp(), "safe_at": safe_at, "done": False}
    return postgresql.insert(Removal).values([{"sha256": sha256, **row} for sha256 in sorted(hashes)])


def _seconds_from_now(seconds: float) -> ColumnElement[datetime]:
    return func.clock_timestamp() + literal(timedelta(seconds=seconds))
