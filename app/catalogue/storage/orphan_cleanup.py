"""Delete unused originals and thumbnails: of deleted or replaced images, and left over after a crash.

A deletion is claimed in the database (`deletion_queue.py`), so another process finishes it if this one ends. The
originals that an addition stores before its commit are in no row; the addition keeps a note of them in the ledger.
"""

import logging
import os
import secrets
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial

from app.catalogue.database.sessions import Database
from app.catalogue.file_owners import is_used
from app.catalogue.sequence import lock_catalogue
from app.catalogue.storage import deletion_queue
from app.catalogue.storage.deletion_queue import Checkpoint, Claim
from app.catalogue.storage.ledger import Ledger, Note
from app.catalogue.storage.protocol import ImageStorage
from app.common.processes import is_alive
from app.errors import UnavailableError

log = logging.getLogger(__name__)

# Originals per claim, and concurrent file deletions.
_CLAIM_SIZE, _THREADS = 256, 16
# Earlier failed deletions to retry after a successful one.
_RETRIES = 16
# Seconds that an addition waits for a deletion of the same bytes, and its polling interval.
_WAIT_TIMEOUT_S, _POLL_INTERVAL_S = 5.0, 0.05


class OrphanCleanup:
    """Cleanup of one catalogue's unused originals and thumbnails."""

    def __init__(self, ledger: Ledger, database: Database, files: ImageStorage) -> None:
        self._ledger, self._database, self._files = ledger, database, files
        self._started = False

    def track(self, hashes: Collection[str] = ()) -> AbstractContextManager[str]:
        """Record originals in the ledger for cleanup, unless the block succeeds.

        Returns:
            A context manager that yields the note's name, the owner of claims made in the block.
        """
        return self._ledger.note(hashes)

    def wait_for_deletions(self, hashes: Collection[str]) -> Checkpoint:
        """Wait until no deletion of these originals is in progress; call this before storing them.

        Raises:
            UnavailableError: a deletion takes too long.
        """
        until = time.monotonic() + _WAIT_TIMEOUT_S
        while True:
            with self._database.read_session() as session:
                found = deletion_queue.checkpoint(session, hashes)
            if not found.wait_s:
                return found
            if time.monotonic() > until:
                raise UnavailableError(
                    f"The same image is being deleted from storage. Send it again in {found.wait_s} s.",
                    retry_after=min(found.wait_s, 60),
                )
            time.sleep(_POLL_INTERVAL_S)

    def delete(self, claims: Sequence[Claim]) -> None:
        """Delete the files of claimed originals; call this after the commit.

        The images are already deleted, so a failure is only logged, and retried later.
        """
        try:
            if delete_claimed(self._database, self._files, claims) and claims:
                self._delete_due(_RETRIES)
        except UnavailableError as error:
            log.warning("deletion of %d unused originals is postponed: %s", len(claims), error)

    def delete_unused(self, sha256: str) -> None:
        """Delete an original and its thumbnail unless an image uses them.

        Raises:
            UnavailableError: the database is unavailable.
        """
        with self._database.read_session() as session:
            used = is_used(session, sha256)
        if not used:
            remove_unused(self._database, self._files, [sha256])

    def run(self) -> None:
        """Clean up after ended or failed operations: unlocked notes in the ledger, and due removals in the database."""
        self._ledger.clean_up(self._clean_up)
        self._started = True
        try:
            self._delete_due(None)
        except UnavailableError as error:
            log.warning("deletion of unused originals is postponed: %s", error)

    def _clean_up(self, note: Note) -> bool:
        try:
            # A failed operation in a running process has removed its own temporary files. In a restarted container,
            # this process may have the PID of the killed one.
            if not is_alive(note.process) or (note.process == os.getpid() and not self._started):
                for sha256 in note.lines:
                    self._files.remove_unfinished(sha256, note.process)
            with self._database.transaction() as session:
                deletion_queue.abandon(session, note.name, self._files.max_delay_s)
            remove_unused(self._database, self._files, note.lines)
        except (UnavailableError, OSError) as error:
            log.warning("cleanup of the originals in the note %s is postponed: %s", note.name, error)
            return False
        return True

    def _delete_due(self, limit: int | None) -> None:
        last = ""
        while True:
            with self._database.read_session() as session:
                due = deletion_queue.due(session, limit or _CLAIM_SIZE, after=last)
            if not due:
                return
            remove_unused(self._database, self._files, due)
            last = due[-1]
            if limit is not None:
                return


def remove_unused(database: Database, files: ImageStorage, hashes: Collection[str]) -> None:
    """Delete those originals that no image uses; while a backup runs, queue them instead.

    Raises:
        UnavailableError: the database is unavailable.
    """
    ordered = sorted(set(hashes))
    for first in range(0, len(ordered), _CLAIM_SIZE):
        with database.transaction() as session:
            lock_catalogue(session)
            some = ordered[first : first + _CLAIM_SIZE]
            claims = deletion_queue.claim(session, some, secrets.token_hex(8), files.max_delay_s)
        delete_claimed(database, files, claims)


def delete_claimed(database: Database, files: ImageStorage, claims: Sequence[Claim]) -> bool:
    """Delete claimed files and record the outcome; return whether all were deleted."""
    with ThreadPoolExecutor(min(_THREADS, len(claims)) or 1, "cleanup") as threads:
        outcomes = list(threads.map(partial(_delete_files, files), claims))
    by_outcome = {
        outcome: [one for one, its in zip(claims, outcomes, strict=True) if its == outcome] for outcome in set(outcomes)
    }
    with database.transaction() as session:
        for (deleted, late_s), some in by_outcome.items():
            deletion_queue.finish(session, some, deleted=deleted, late_s=late_s)
    return all(deleted for deleted, _ in outcomes)


def _delete_files(files: ImageStorage, claim: Claim) -> tuple[bool, float]:
    """Delete the files of a claim.

    Returns:
        Whether they are deleted, and the seconds for which the storage may still carry out a failed deletion.
    """
    if not claim.is_current:
        return False, 0.0
    try:
        files.remove(claim.sha256)
    except (UnavailableError, OSError) as error:
        log.warning("deletion of the original %s is postponed: %s", claim.sha256, error)
        return False, files.max_delay_s
    return True, 0.0
