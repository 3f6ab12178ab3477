"""Fill an index version beside the active one, then switch the catalogue to it in one transaction.

Searches and changes continue meanwhile; images added or replaced during the run are filled in too. When few are
missing, every serving process is signalled to open the version. Once all have, the switch blocks additions, fills in
the last images and commits; searches and other changes continue even then.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from sqlalchemy.orm import Session

from app.catalogue import index_versions
from app.catalogue.advisory_registry import VersionLocks, VersionUse, lock_holders, version_locks
from app.catalogue.database.locks import Lock, exclusive_lock
from app.catalogue.database.sessions import Database
from app.catalogue.sequence import next_seq
from app.errors import DecodingUnavailableError, LookalikeError

# How long serving processes may take to open the network; mostly the conversion of a large one.
SWITCH_TIMEOUT_S = 180.0
_POLL_S = 0.5

Report = Callable[[int, int], None]


class VersionFiller(Protocol):
    """Adds the encodings that an index version lacks."""

    @property
    def index_version_id(self) -> int:
        """The version."""
        ...

    def fill(self, report: Report) -> None:
        """Add all that are missing when it is called; `report` is called with (done, total)."""
        ...

    def fill_last(self) -> bool:
        """Add the last ones while no image can be added; return False if they are too many for that."""
        ...

    def is_complete(self, session: Session) -> bool:
        """Return whether nothing is missing."""
        ...


def fill_and_switch(
    database: Database,
    filler: VersionFiller,
    report: Report,
    patience: float = SWITCH_TIMEOUT_S,
    *,
    replacing: int | None = None,
) -> None:
    """Fill an index version, and make it the active one.

    Args:
        database: the catalogue.
        filler: fills the version.
        report: called with the numbers of images encoded and of all.
        patience: how long serving processes may take to open the version, in seconds.
        replacing: the version that must still be the active one; None for any.

    Raises:
        LookalikeError: a serving process cannot open the version in time, or another version became active meanwhile.
    """
    version = filler.index_version_id
    with version_locks(database) as present:
        present.hold_only(VersionUse.FILLING, {version})
        filler.fill(report)
        present.hold_only(VersionUse.WANTED, {version})
        _wait_for_services(present, filler, report, patience)
        while not _try_switch(database, filler, replacing):
            filler.fill(report)


def _wait_for_services(present: VersionLocks, filler: VersionFiller, report: Report, patience: float) -> None:
    """Wait until every serving process has opened the version; fill in new images meanwhile."""
    until = time.monotonic() + patience
    while waiting := _count_unready(filler.index_version_id, lock_holders(present.connection, VersionUse.OPEN)):
        if time.monotonic() > until:
            raise LookalikeError(
                f"{waiting} of the running services cannot open the network yet, so the catalogue was not switched. "
                "See their logs. Fix or stop these services, then run the command again; it resumes where it stopped."
            )
        time.sleep(_POLL_S)
        filler.fill(report)


def _try_switch(database: Database, filler: VersionFiller, replacing: int | None) -> bool:
    """Switch if few images are missing; additions are blocked meanwhile, so that none can be missed."""
    with suppress(DecodingUnavailableError), exclusive_lock(database, Lock.SWITCH):
        if not filler.fill_last():
            return False
        with database.transaction() as session:
            next_seq(session)
            if not filler.is_complete(session):
                return False
            index_versions.activate(session, filler.index_version_id, replacing=replacing)
            return True
    # Too busy to decode: release the lock before the next attempt, so that additions do not wait.
    return False


def _count_unready(index_version_id: int, opened_by: dict[int, set[int]]) -> int:
    """Count serving processes that have not opened an index version."""
    return len(set[int]().union(*opened_by.values()) - opened_by.get(index_version_id, set()))
