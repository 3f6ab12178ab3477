"""Ingest pipeline: bytes → decode → encode → originals and vectors on disk → rows in one commit.

Nothing is acknowledged before the commit, and everything that the rows refer to is synced to disk before it. A crash
leaves an unused slot, and originals that the next start deletes (`orphan_cleanup.py`). Independent of HTTP.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import partial

from PIL import Image as PILImage
from sqlalchemy.orm import Session

from app.catalogue import changes, queries
from app.catalogue.changes import CatalogueChangedError, ImageProperties, Put, PutResult
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.encodings import NewEncoding
from app.catalogue.file_owners import duplicates_in
from app.catalogue.metadata_patch import MetadataPatch
from app.catalogue.selection import Selection
from app.catalogue.sequence import SwitchInProgressError, block_switch
from app.catalogue.storage import deletion_queue
from app.catalogue.storage.deletion_queue import Checkpoint
from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.storage.local import content_hash
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.catalogue.storage.protocol import ImageStorage
from app.common.unicode_names import nfc
from app.errors import ImageRejectedError, UnavailableError
from app.ingest.embedding_writer import EmbeddingWriter
from app.ingest.jobs.stop import Stop
from app.ingest.uploads import AddResult, OnDuplicate, Upload
from app.observability.hooks import ObserverGroup, Operation

_ATTEMPTS = 5
# How long an addition waits for a model switch before it fails with 503.
_SWITCH_TIMEOUT_S = 5.0
_POLL_S = 0.05


@dataclass
class _Item:
    """An upload in progress; `image` is the decoded input of the network."""

    upload: Upload
    key: str
    sha256: str
    image: PILImage.Image | None = None
    thumbnail: bytes = b""
    facts: ImageProperties | None = None
    encoding: NewEncoding | None = None
    warnings: tuple[str, ...] = ()
    rejection: ImageRejectedError | None = None
    duplicate_of: str | None = None


class IngestPipeline:
    """Adds and changes images in one catalogue with one network."""

    def __init__(
        self,
        database: Database,
        files: ImageStorage,
        encodings: EmbeddingWriter,
        disk: FsyncGuard,
        cleanup: OrphanCleanup,
        observers: ObserverGroup,
    ) -> None:
        self._database, self._files, self._encodings, self._disk = database, files, encodings, disk
        self._cleanup, self._observers = cleanup, observers

    def add(
        self, uploads: Sequence[Upload], stop: Stop | None = None, on_duplicate: OnDuplicate = OnDuplicate.ADD
    ) -> list[AddResult]:
        """Add or replace images; when it returns, they are stored durably.

        Images that cannot be used are rejected; the others are added.

        Args:
            uploads: the images.
            stop: may stop the work before all images are decoded.
            on_duplicate: whether to add files that the catalogue already has under another key.

        Raises:
            StoppedError: a stop was requested; no image was added.
            UnavailableError: disk, storage or database cannot be used; the uploads may be sent again.
        """
        # Checked first, because decoding and encoding are expensive.
        self._disk.require_room()
        with self._observers.operation("ingest") as work:
            added = self._add(uploads, work, stop or Stop(), skip_duplicates=on_duplicate is OnDuplicate.SKIP)
            work.attributes.update(Counter(item.status for item in added))
            return added

    def update_metadata(self, image_id: int, given: MetadataPatch) -> Image:
        """Change an image's label and metadata; None removes a field, absent fields stay.

        Raises:
            NotFoundError: there is no image with this id.
        """
        self._disk.require_healthy()
        with self._database.transaction() as session:
            return changes.patch_metadata(session, image_id, given)

    def update_many(self, selection: Selection, expected: int, given: MetadataPatch) -> int:
        """Change the label and metadata of images as one change; return how many changed.

        Raises:
            InvalidInputError: they are too many.
            SelectionChangedError: they are not the `expected` number, or an id or a key does not exist.
        """
        self._disk.require_healthy()
        with self._database.transaction() as session:
            return changes.patch_many(session, selection, expected, given)

    def _add(self, uploads: Sequence[Upload], work: Operation, stop: Stop, *, skip_duplicates: bool) -> list[AddResult]:
        for _ in range(_ATTEMPTS):
            with work.stage("decode"):
                items = self._prepare(uploads, stop, skip_duplicates=skip_duplicates)
            usable = [item for item in items if item.rejection is None and item.duplicate_of is None]
            new = [item for item in usable if item.image is not None]
            stored = {item.sha256 for item in new}
            # Taken before storing, so that the commit detects originals that are deleted from now on.
            since = self._cleanup.wait_for_deletions(stored)
            try:
                with self._cleanup.track(stored) as owner:
                    self._store_and_encode(usable, new, work)
                    with work.stage("commit"):
                        done = iter(self._commit(usable, since, owner, skip_duplicates=skip_duplicates))
            except CatalogueChangedError:
                self._release_slots(new)
                continue
            return list(_results(items, done))
        raise UnavailableError("The catalogue changed repeatedly while the images were added. Try again.")

    def _prepare(self, uploads: Sequence[Upload], stop: Stop, *, skip_duplicates: bool) -> list[_Item]:
        """Decode every image that is not yet stored under its key with the same bytes."""
        items = [_new_item(upload) for upload in uploads]
        with self._database.read_session() as session:
            known = queries.images_by_key(session, self._encodings.index_version_id, [item.key for item in items])
            if skip_duplicates:
                hashes = {key: image.sha256 for key, image in known.items()}
                same = duplicates_in(session, [(item.key, item.sha256) for item in items], hashes, skip=True)
                items = [replace(item, duplicate_of=key) for item, key in zip(items, same, strict=True)]
        new: list[_Item] = []
        for item in items:
            if item.duplicate_of is not None:
                continue
            stored = known.get(item.key)
            if stored is None or not stored.encoded or stored.sha256 != item.sha256:
                new.append(item)
                # A later upload with this key replaces this one, not the stored image.
                known.pop(item.key, None)
        with ThreadPoolExecutor(os.cpu_count()) as cores:
            list(cores.map(partial(self._decode, stop), new))
        stop.check()
        return items

    def _decode(self, stop: Stop, item: _Item) -> None:
        stop.check()
        try:
            prepared = self._encodings.prepare(item.upload.data, thumbnail=True)
        except ImageRejectedError as error:
            item.rejection = error
            return
        item.image, item.thumbnail, size = prepared.image, prepared.thumbnail, len(item.upload.data)
        item.warnings = tuple(warning.sentence for warning in prepared.warnings)
        item.facts = ImageProperties(item.sha256, prepared.media_type, prepared.width, prepared.height, size)

    def _store_and_encode(self, usable: Sequence[_Item], new: Sequence[_Item], work: Operation) -> None:
        """Store originals and encode in parallel: the network works while the disk is written."""
        try:
            with ThreadPoolExecutor(1) as disk:
                stored = disk.submit(copy_context().run, self._store, usable)
                with work.stage("encode"):
                    self._encode(new)
                with work.stage("store"):
                    stored.result()
        except BaseException:
            self._release_slots(new)
            raise

    def _release_slots(self, items: Sequence[_Item]) -> None:
        """Release the slots of items that are known not to be committed."""
        self._encodings.discard([item.encoding.slot for item in items if item.encoding is not None])

    def _store(self, items: Sequence[_Item]) -> None:
        """Store originals and thumbnails, including lost originals of unchanged images."""
        new = {item.sha256: item for item in items if item.facts is not None}
        lost = self._files.missing({item.sha256 for item in items} - set(new))
        self._files.store(
            {item.sha256: item.upload.data for item in items if item.sha256 in new or item.sha256 in lost}
        )
        self._files.store_thumbnails({sha256: item.thumbnail for sha256, item in new.items()})

    def _encode(self, items: Sequence[_Item]) -> None:
        """Encode items and write their vectors."""
        encodings = self._encodings.encode([item.image for item in items if item.image is not None])
        for item, encoding in zip(items, encodings, strict=True):
            item.encoding = encoding

    def _commit(
        self, items: Sequence[_Item], since: Checkpoint, owner: str, *, skip_duplicates: bool
    ) -> list[PutResult]:
        """Write the rows in one transaction; this is the commit point.

        Raises:
            CatalogueChangedError: the items are outdated, or an original may have been deleted since it was stored.
        """
        puts = [Put(item.key, item.sha256, item.upload.patch, item.facts, item.encoding) for item in items]
        encoded = Image.key.in_([item.key for item in items if item.encoding is not None])
        with self._transaction() as session:
            freed = list(queries.slots_where(session, self._encodings.index_version_id, encoded))
            done = changes.put_images(session, self._encodings.index_version_id, puts, skip_duplicates=skip_duplicates)
            if not deletion_queue.require_stored(
                session, {item.sha256 for item in items if item.facts is not None}, since
            ):
                raise CatalogueChangedError
            replaced = {result.replaced for result in done if result.replaced is not None}
            claims = deletion_queue.claim(session, replaced, owner, self._files.max_delay_s)
        self._cleanup.delete(claims)
        # If a key occurs more than once, the last item wins.
        last = {item.key: item.encoding.slot for item in items if item.encoding is not None}
        freed += [item.encoding.slot for item in items if item.encoding and item.encoding.slot != last[item.key]]
        self._encodings.discard(freed)
        return done

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        """Open a transaction once no model switch is in progress; waiting holds no connection."""
        until = time.monotonic() + _SWITCH_TIMEOUT_S
        while True:
            with suppress(SwitchInProgressError), self._database.transaction() as session:
                block_switch(session)
                yield session
                return
            if time.monotonic() > until:
                raise UnavailableError("The catalogue is switching to another network. Try again shortly.")
            time.sleep(_POLL_S)


def _new_item(upload: Upload) -> _Item:
    sha256 = content_hash(upload.data)
    return _Item(upload, nfc(upload.key) if upload.key is not None else sha256, sha256)


def _results(items: Sequence[_Item], done: Iterator[PutResult]) -> Iterator[AddResult]:
    rejections = {item.sha256: item.rejection for item in items if item.rejection is not None}
    for item in items:
        # A skipped item may have the bytes of an earlier one that was rejected.
        rejection = rejections.get(item.sha256) if item.duplicate_of is not None else item.rejection
        if rejection is not None:
            yield AddResult(None, item.key, "rejected", rejection.reason, rejection.code)
        elif item.duplicate_of is not None:
            yield AddResult(None, item.key, "skipped", duplicate_of=item.duplicate_of)
        else:
            put = next(done)
            yield AddResult(put.id, item.key, put.status, warnings=item.warnings, duplicate_of=put.duplicate_of)
