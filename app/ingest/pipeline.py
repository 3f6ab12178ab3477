"""The way of an addition: bytes → decode → encode → originals and vectors on disk → rows in one commit.

Nothing is acknowledged before the commit, and everything that the commit speaks of is on disk and synced before
it. What a crash leaves behind is a slot that no picture uses, and originals that the next start deletes
(`orphan_cleanup.py`). Knows nothing of HTTP.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Literal

from PIL import Image
from sqlalchemy.orm import Session

from app.catalogue import changes, queries
from app.catalogue.changes import (
    CatalogueChangedError,
    Done,
    Given,
    NewEncoding,
    PictureFacts,
    Put,
    SwitchUnderWayError,
)
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Picture
from app.catalogue.storage import removals
from app.catalogue.storage.fsync_guard import Disk
from app.catalogue.storage.local import content_hash
from app.catalogue.storage.orphan_cleanup import OrphanCleanup
from app.catalogue.storage.protocol import PictureStore
from app.catalogue.storage.removals import Checkpoint
from app.errors import PictureRefusedError, UnavailableError
from app.ingest.embedding_writer import Encodings
from app.ingest.jobs.stop import Stop
from app.observability.hooks import Observers, Work

_TRIES = 5
# Seconds that an addition waits for a switch to another network; then it is answered 503.
_PATIENCE_S = 5.0
_LOOK_AGAIN_S = 0.05


@dataclass(frozen=True)
class Upload:
    """A picture that somebody wants in the catalogue; its key defaults to the hash of its bytes."""

    data: bytes
    key: str | None
    given: Given


@dataclass(frozen=True)
class Added:
    """What became of an upload; `error` says why it was rejected, and `code` in a word for programs."""

    id: int | None
    key: str
    status: Literal["created", "updated", "unchanged", "rejected"]
    error: str | None = None
    code: str | None = None


@dataclass
class _Item:
    """An upload on its way; `image` is what the network reads of it."""

    upload: Upload
    key: str
    sha256: str
    image: Image.Image | None = None
    thumbnail: bytes = b""
    facts: PictureFacts | None = None
    encoding: NewEncoding | None = None
    refused: PictureRefusedError | None = None


class Ingest:
    """Adds to, changes and deletes from one catalogue with one network."""

    def __init__(
        self,
        database: Database,
        files: PictureStore,
        encodings: Encodings,
        disk: Disk,
        cleanup: OrphanCleanup,
        observers: Observers,
    ) -> None:
        self._database, self._files, self._encodings, self._disk = database, files, encodings, disk
        self._cleanup, self._observers = cleanup, observers

    def add(self, uploads: Sequence[Upload], stop: Stop | None = None) -> list[Added]:
        """Puts pictures into the catalogue; when this returns they are there for good.

        A picture that cannot be used is reported and costs the others nothing.

        Args:
            uploads: the pictures.
            stop: what may ask for an end before all of them are decoded.

        Raises:
            StoppedError: it did; none of the pictures is there.
            UnavailableError: disk, bucket or database cannot be used; what is not acknowledged may be sent again.
        """
        # Beforehand, because decoding and encoding cost most.
        self._disk.require_room()
        with self._observers.work("ingest") as work:
            added = self._add(uploads, work, stop or Stop())
            work.facts.update(Counter(item.status for item in added))
            return added

    def describe(self, picture_id: int, given: Given) -> Picture:
        """Changes what is said of a picture; a field given as None goes, those not given stay.

        Raises:
            NotFoundError: there is no such picture.
        """
        self._disk.require()
        with self._database.begin() as session:
            return changes.describe_picture(session, picture_id, given)

    def delete(self, picture_id: int) -> None:
        """Deletes a picture; when this returns no search in any process finds it.

        Raises:
            NotFoundError: there is no such picture.
        """
        self._disk.require()
        with self._cleanup.track() as owner:
            with self._database.begin(from_reserve=True) as session:
                left = queries.slots(session, self._encodings.generation_id, Picture.id == picture_id)
                sha256 = changes.delete_picture(session, picture_id)
                claims = removals.claim(session, [sha256], owner, self._files.late_s)
            self._cleanup.delete(claims)
        self._encodings.discard(left)

    def _add(self, uploads: Sequence[Upload], work: Work, stop: Stop) -> list[Added]:
        for _ in range(_TRIES):
            with work.stage("decode"):
                items = self._prepare(uploads, stop)
            usable = [item for item in items if item.refused is None]
            new = [item for item in usable if item.image is not None]
            stored = {item.sha256 for item in new}
            # Before anything is stored: what is deleted from now on is noticed at the commit.
            since = self._cleanup.checkpoint(stored)
            try:
                with self._cleanup.track(stored) as owner:
                    self._keep(usable, new, work)
                    with work.stage("commit"):
                        done = iter(self._commit(usable, since, owner))
            except CatalogueChangedError:
                self._give_up(new)
                continue
            return [_rejected(item, item.refused) if item.refused else _added(item, next(done)) for item in items]
        raise UnavailableError("The catalogue changed while the pictures were being added.")

    def _prepare(self, uploads: Sequence[Upload], stop: Stop) -> list[_Item]:
        """Decodes every picture whose bytes are not already there under its key."""
        items = [_item(upload) for upload in uploads]
        with self._database.asking() as session:
            known = queries.known_keys(session, self._encodings.generation_id, [item.key for item in items])
        new: list[_Item] = []
        for item in items:
            there = known.get(item.key)
            if there is None or not there.encoded or there.sha256 != item.sha256:
                new.append(item)
                # What comes next under this key no longer meets what was there.
                known.pop(item.key, None)
        with ThreadPoolExecutor(os.cpu_count()) as cores:
            list(cores.map(partial(self._decode, stop), new))
        stop.check()
        return items

    def _decode(self, stop: Stop, item: _Item) -> None:
        stop.check()
        try:
            picture = self._encodings.prepare(item.upload.data, thumbnail=True)
        except PictureRefusedError as error:
            item.refused = error
            return
        item.image, item.thumbnail = picture.image, picture.thumbnail
        item.facts = PictureFacts(item.sha256, picture.media_type, picture.width, picture.height, len(item.upload.data))

    def _keep(self, usable: Sequence[_Item], new: Sequence[_Item], work: Work) -> None:
        """Stores originals and makes encodings: the network works while the disk is waited for."""
        try:
            with ThreadPoolExecutor(1) as disk:
                stored = disk.submit(copy_context().run, self._store, usable)
                with work.stage("encode"):
                    self._encode(new)
                with work.stage("store"):
                    stored.result()
        except BaseException:
            self._give_up(new)
            raise

    def _give_up(self, items: Sequence[_Item]) -> None:
        """Hears that these are certain not to have been committed, so that nobody needs their vectors."""
        self._encodings.discard([item.encoding.slot for item in items if item.encoding is not None])

    def _store(self, items: Sequence[_Item]) -> None:
        """Stores originals and thumbnails, also originals that got lost of pictures that are there."""
        new = {item.sha256: item for item in items if item.facts is not None}
        lost = self._files.missing({item.sha256 for item in items} - set(new))
        self._files.store(
            {item.sha256: item.upload.data for item in items if item.sha256 in new or item.sha256 in lost}
        )
        self._files.store_thumbnails({sha256: item.thumbnail for sha256, item in new.items()})

    def _encode(self, items: Sequence[_Item]) -> None:
        """Encodes pictures and stores their vectors."""
        made = self._encodings.make([item.image for item in items if item.image is not None])
        for item, encoding in zip(items, made, strict=True):
            item.encoding = encoding

    def _commit(self, items: Sequence[_Item], since: Checkpoint, owner: str) -> list[Done]:
        """Makes everything visible at once; this is the commit point.

        Raises:
            CatalogueChangedError: what was prepared is no longer so; an original may be deleted since it was stored.
        """
        puts = [Put(item.key, item.sha256, item.upload.given, item.facts, item.encoding) for item in items]
        encoded = Picture.key.in_([item.key for item in items if item.encoding is not None])
        with self._changing() as session:
            left = list(queries.slots(session, self._encodings.generation_id, encoded))
            done = changes.put_pictures(session, self._encodings.generation_id, puts)
            if not removals.require_stored(session, {item.sha256 for item in items if item.facts is not None}, since):
                raise CatalogueChangedError
            replaced = {result.replaced for result in done if result.replaced is not None}
            claims = removals.claim(session, replaced, owner, self._files.late_s)
        self._cleanup.delete(claims)
        # Of a key that came twice the last one counts.
        last = {item.key: item.encoding.slot for item in items if item.encoding is not None}
        left += [item.encoding.slot for item in items if item.encoding and item.encoding.slot != last[item.key]]
        self._encodings.discard(left)
        return done

    @contextmanager
    def _changing(self) -> Iterator[Session]:
        """Opens a transaction once no switch to another network is under way; waiting holds no connection."""
        until = time.monotonic() + _PATIENCE_S
        while True:
            with suppress(SwitchUnderWayError), self._database.begin() as session:
                changes.require_no_switch(session)
                yield session
                return
            if time.monotonic() > until:
                raise UnavailableError("The catalogue is moving to another network; additions wait for that.")
            time.sleep(_LOOK_AGAIN_S)


def _item(upload: Upload) -> _Item:
    sha256 = content_hash(upload.data)
    return _Item(upload, upload.key if upload.key is not None else sha256, sha256)


def _added(item: _Item, done: Done) -> Added:
    return Added(done.id, item.key, done.status)


def _rejected(item: _Item, refused: PictureRefusedError) -> Added:
    return Added(None, item.key, "rejected", refused.reason, refused.code)
