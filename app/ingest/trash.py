"""Delete images to the trash, restore them, and purge them from it: their rows, files and F7.

Independent of HTTP. See `app/catalogue/trash.py` for the rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from app.catalogue import trash
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import TrashedImage
from app.catalogue.duplicates.merge import Merged, merge_images
from app.catalogue.encodings import NewEncoding
from app.catalogue.filters.sql import Condition
from app.catalogue.selection import Selection
from app.catalogue.storage import deletion_queue
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.catalogue.storage.protocol import ImageStorage
from app.catalogue.trash import TrashSelection, Unencoded
from app.errors import DamagedOriginalError
from app.ingest.embedding_writer import EmbeddingWriter

# Images purged per transaction, during which other changes wait; images encoded again at a time.
_PURGE_BATCH, _ENCODE_BATCH = 256, 64


@dataclass(frozen=True)
class Deleted:
    """The result of a deletion: the number of images, and the id by which it can be undone, if it can."""

    images: int
    deletion_id: int | None


@dataclass(frozen=True)
class Restored:
    """The result of a restore: the number of images, and of those whose key is in use."""

    images: int
    skipped: int


class Trash:
    """The trash of one catalogue, bound to its active index version.

    Args:
        database: the catalogue.
        files: storage of originals.
        encodings: encodes images for the index version.
        disk: guard of the data folder.
        cleanup: deletes the files of purged images.
        days: for how long deleted images are kept; 0 purges them at once.
    """

    def __init__(
        self,
        database: Database,
        files: ImageStorage,
        encodings: EmbeddingWriter,
        disk: FsyncGuard,
        cleanup: OrphanCleanup,
        days: float,
    ) -> None:
        self._database, self._files, self._encodings = database, files, encodings
        self._disk, self._cleanup, self._days = disk, cleanup, days

    def delete(self, selection: Selection, expected: int) -> Deleted:
        """Delete images as one change; when it returns, no search in any process finds them.

        Raises:
            InvalidInputError: they are too many.
            SelectionChangedError: they are not the `expected` number, or an id or a key does not exist.
        """
        self._disk.require_healthy()
        with self._database.transaction(allow_low_space=True) as session:
            deletion_id, ids = trash.delete_images(session, selection, expected)
        if not self._days:
            self._purge_deletion(deletion_id)
        return Deleted(len(ids), deletion_id if ids and self._days else None)

    def merge(self, keep: int, others: Sequence[int]) -> Merged:
        """Merge duplicates into one image as one transaction; see `merge_images`. The others go to the trash.

        Raises:
            SelectionChangedError: an image does not exist.
        """
        self._disk.require_healthy()
        with self._database.transaction() as session:
            merged = merge_images(session, keep, others)
        if self._days:
            return merged
        self._purge_deletion(merged.deletion_id)
        return replace(merged, deletion_id=None)

    def restore(self, which: TrashSelection, *, skip_used_keys: bool = False) -> Restored:
        """Restore images as they were, as one change; when it returns, every search in every process finds them.

        Images are encoded again only if the catalogue has switched to another index version since their deletion.

        Raises:
            NotInTrashError: an image is not in the trash, or no longer.
            KeysInUseError: another image has a key now, and `skip_used_keys` is not set.
            DamagedOriginalError: an image must be encoded again, and its original is missing or damaged.
            ModelSwitchedError: the catalogue has switched to another index version.
        """
        self._disk.require_room()
        version = self._encodings.index_version_id
        with self._database.read_session() as session:
            missing = trash.unencoded(session, version, which)
        new: list[tuple[int, NewEncoding]] = []
        try:
            for first in range(0, len(missing), _ENCODE_BATCH):
                new += self._encode(missing[first : first + _ENCODE_BATCH])
            with self._database.transaction() as session:
                ids, skipped = trash.restore_images(session, version, which, new, skip_used_keys=skip_used_keys)
        except BaseException:
            self._discard(missing, new)
            raise
        return Restored(len(ids), skipped)

    def empty(self) -> int:
        """Remove all images from the trash at once; return their number.

        An interruption leaves files and F7 of some of them, which the next `purge` deletes.
        """
        self._disk.require_healthy()
        with self._database.transaction(allow_low_space=True) as session:
            images = trash.mark_expired(session)
        self.purge()
        return images

    def purge(self) -> None:
        """Remove expired images for good, with their files and F7. Originals that other images use stay."""
        while self.purge_batch():
            pass

    def purge_batch(self) -> bool:
        """Remove some expired images; return whether there may be more."""
        with self._database.read_session() as session:
            if not trash.has_expired(session, self._days):
                return False
        return self._purge(trash.expired(self._days))

    def _purge_deletion(self, deletion_id: int | None) -> None:
        """Remove the images of one deletion for good; other deletions wait for their own files."""
        while self._purge(TrashedImage.deletion_id == deletion_id):
            pass

    def _purge(self, which: Condition) -> bool:
        """Remove some images that meet a condition; return whether there may be more."""
        with self._cleanup.track() as owner:
            with self._database.transaction(allow_low_space=True) as session:
                purged = trash.purge_images(session, self._encodings.index_version_id, which, _PURGE_BATCH)
                claims = deletion_queue.claim(session, purged.hashes, owner, self._files.max_delay_s)
            self._cleanup.delete(claims)
        self._encodings.discard(purged.slots)
        return purged.images == _PURGE_BATCH

    def _encode(self, missing: Sequence[Unencoded]) -> list[tuple[int, NewEncoding]]:
        images = [one.image for one in missing]
        stored = {one.image.id: one.stored for one in missing if one.stored is not None}
        encoded = self._encodings.encode_originals(self._files, images, stored)
        made = {image.id for image, _ in encoded}
        for image in images:
            if image.id not in made:
                raise DamagedOriginalError(image.id, image.key)
        return [(image.id, encoding) for image, encoding in encoded]

    def _discard(self, missing: Sequence[Unencoded], new: Sequence[tuple[int, NewEncoding]]) -> None:
        """Release slots that were filled for a restore that failed."""
        stored = {one.image.id for one in missing if one.stored is not None}
        self._encodings.discard([encoding.slot for image_id, encoding in new if image_id not in stored])
