"""Delete originals that no picture uses: after their pictures are deleted or replaced, and what a crash left.

A deletion is claimed in the database (`removals.py`), so another process carries it out where this one ends first.
What an addition stores before its commit is in no row: the addition keeps a note in the ledger meanwhile.
"""

import logging
import os
import secrets
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

from sqlalchemy import select

from app.catalogue import changes
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Picture
from app.catalogue.storage import removals
from app.catalogue.storage.ledger import Ledger, Note
from app.catalogue.storage.protocol import PictureStore
from app.catalogue.storage.removals import Checkpoint, Claim
from app.common.processes import is_alive
from app.errors import UnavailableError

log = logging.getLogger(__name__)

# Originals that are claimed together, and those whose files are deleted at a time.
_CLAIMED, _AT_A_TIME = 256, 16
# Deletions that failed before are tried again after one that succeeded, so many at most.
_AGAIN = 16
# Seconds that an addition waits for a deletion of the same bytes; then it is answered 503.
_PATIENCE_S, _LOOK_AGAIN_S = 5.0, 0.05


class OrphanCleanup:
    """Cleans up one catalogue's originals and thumbnails."""

    def __init__(self, ledger: Ledger, database: Database, files: PictureStore) -> None:
        self._ledger, self._database, self._files = ledger, database, files
        self._started = False

    def track(self, hashes: Collection[str] = ()) -> AbstractContextManager[str]:
        """Has a later cleanup look at these originals unless the block ends well.

        Returns:
            A block that yields the note's name, which owns what is claimed in it.
        """
        return self._ledger.note(hashes)

    def checkpoint(self, hashes: Collection[str]) -> Checkpoint:
        """Waits until no deletion of these originals is under way, before they are stored.

        Raises:
            UnavailableError: one is, for longer than an addition waits.
        """
        until = time.monotonic() + _PATIENCE_S
        while True:
            with self._database.asking() as session:
                found = removals.checkpoint(session, hashes)
            if not found.wait_s:
                return found
            if time.monotonic() > until:
                raise UnavailableError(
                    "The same bytes are being deleted from where originals are kept. Send them again in "
                    f"{found.wait_s} s at the latest.",
                    retry_after=min(found.wait_s, 60),
                )
            time.sleep(_LOOK_AGAIN_S)

    def delete(self, claims: Sequence[Claim]) -> None:
        """Deletes the files of originals that were claimed, after the commit.

        The pictures are deleted already, so a failure is no failure of that: it is logged, and tried again later.
        """
        try:
            if carry_out(self._database, self._files, claims) and claims:
                self._delete_due(_AGAIN)
        except UnavailableError as error:
            log.warning("%d unused originals are left for a later cleanup: %s", len(claims), error)

    def delete_unused(self, sha256: str) -> None:
        """Deletes an original and its thumbnail unless a picture uses them.

        Raises:
            UnavailableError: the database cannot be reached.
        """
        with self._database.asking() as session:
            is_used = session.scalar(select(Picture.id).where(Picture.sha256 == sha256).limit(1)) is not None
        if not is_used:
            remove_unused(self._database, self._files, [sha256])

    def settle(self) -> None:
        """Deletes what ended or failed work left, of this folder's ledger and of all that is due in the database."""
        self._ledger.settle(self._settle)
        self._started = True
        try:
            self._delete_due(None)
        except UnavailableError as error:
            log.warning("unused originals are left for a later cleanup: %s", error)

    def _settle(self, note: Note) -> bool:
        try:
            # Work that failed in a process that is still there has removed its temporary files itself. In a container
            # that was started again this process may have the number of the one that was killed.
            if not is_alive(note.process) or (note.process == os.getpid() and not self._started):
                for sha256 in note.lines:
                    self._files.remove_unfinished(sha256, note.process)
            with self._database.begin() as session:
                removals.abandon(session, note.name, self._files.late_s)
            remove_unused(self._database, self._files, note.lines)
        except (UnavailableError, OSError) as error:
            log.warning("the originals in the note %s are left for a later cleanup: %s", note.name, error)
            return False
        return True

    def _delete_due(self, limit: int | None) -> None:
        last = ""
        while True:
            with self._database.asking() as session:
                due = removals.due(session, limit or _CLAIMED, after=last)
            if not due:
                return
            remove_unused(self._database, self._files, due)
            last = due[-1]
            if limit is not None:
                return


def remove_unused(database: Database, files: PictureStore, hashes: Collection[str]) -> None:
    """Deletes those of some originals that no picture uses; while a backup runs, they are queued for later.

    Raises:
        UnavailableError: the database cannot be reached.
    """
    ordered = sorted(set(hashes))
    for first in range(0, len(ordered), _CLAIMED):
        with database.begin() as session:
            changes.hold(session)
            some = ordered[first : first + _CLAIMED]
            claims = removals.claim(session, some, secrets.token_hex(8), files.late_s)
        carry_out(database, files, claims)


def carry_out(database: Database, files: PictureStore, claims: Sequence[Claim]) -> bool:
    """Deletes files that were claimed, and records the outcome; tells whether all are deleted."""
    with ThreadPoolExecutor(min(_AT_A_TIME, len(claims)) or 1, "cleanup") as threads:
        outcomes = list(threads.map(partial(_delete_files, files), claims))
    by_outcome = {
        outcome: [one for one, its in zip(claims, outcomes, strict=True) if its == outcome] for outcome in set(outcomes)
    }
    with database.begin() as session:
        for (deleted, late_s), some in by_outcome.items():
            removals.finish(session, some, deleted=deleted, late_s=late_s)
    return all(deleted for deleted, _ in outcomes)


def _delete_files(files: PictureStore, claim: Claim) -> tuple[bool, float]:
    """Returns whether the files are deleted, and for how many seconds they may still be."""
    if not claim.is_current:
        return False, 0.0
    try:
        files.remove(claim.sha256)
    except (UnavailableError, OSError) as error:
        log.warning("the original %s is left for a later cleanup: %s", claim.sha256, error)
        return False, files.late_s
    return True, 0.0
