"""Reindex: encode the catalogue with another network into a second index version, then switch in one transaction.

Searches and changes continue meanwhile; images added or replaced during the run are encoded too. When few are missing,
every serving process is signalled to open the new index version. Once all have, the switch blocks additions, encodes
the last images and commits; searches and other changes continue even then. An interrupted run resumes where it
stopped. The old index version is kept, so switching back encodes only newer images.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from PIL import Image as PILImage
from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from app.catalogue import changes, index_versions
from app.catalogue.advisory_registry import VersionLocks, VersionUse, lock_holders, version_locks
from app.catalogue.changes import NewEncoding
from app.catalogue.database.locks import Lock, exclusive_lock
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Image
from app.catalogue.storage.protocol import ImageStorage
from app.errors import DamagedOriginalError, DecodingUnavailableError, ImageRejectedError, LookalikeError
from app.ingest.embedding_writer import EmbeddingWriter
from app.search.decode.retries import retry_while_unavailable

_BATCH = 64
# How long serving processes may take to open the network; mostly the conversion of a large one.
SWITCH_TIMEOUT_S = 180.0
_POLL_S = 0.5
# By rejection code: originals that were accepted under other limits are not damaged.
_REMEDIES = {
    "image_too_large": "Raise LOOKALIKE_MAX_IMAGE_BYTES",
    "image_too_many_pixels": "Raise LOOKALIKE_MAX_IMAGE_PIXELS",
    "image_decode_timeout": "Raise LOOKALIKE_MAX_DECODE_CPU_SECONDS",
    "image_decode_out_of_memory": "Give the command more memory",
}

Report = Callable[[int, int], None]


class Reindex:
    """Fills an index version with one network, and switches to it."""

    def __init__(self, database: Database, files: ImageStorage, encodings: EmbeddingWriter) -> None:
        self._database, self._files, self._encodings = database, files, encodings
        self._index_version_id = encodings.index_version_id

    def run(self, report: Report, patience: float = SWITCH_TIMEOUT_S) -> None:
        """Encode the missing images, then switch; `report` is called with (done, total).

        Raises:
            DamagedOriginalError: an original is missing or cannot be read.
            DecodingUnavailableError: the machine is too busy to decode pictures, for minutes.
            LookalikeError: an original exceeds a limit of the settings; or a serving process cannot open the network
                within `patience` seconds.
        """
        with version_locks(self._database) as present:
            present.hold_only(VersionUse.FILLING, {self._index_version_id})
            self._fill(report)
            present.hold_only(VersionUse.WANTED, {self._index_version_id})
            self._wait_for_services(present, report, patience)
            while not self._try_switch():
                self._fill(report)

    def _fill(self, report: Report) -> None:
        """Encode images that this index version lacks, in order of id; images added meanwhile may remain."""
        with self._database.read_session() as session:
            done, total = index_versions.encoded_and_total(session, self._index_version_id)
        last, more = 0, True
        while more:
            with self._database.read_session() as session:
                batch = self._missing(session, last)
            self._keep(retry_while_unavailable(partial(self._encodings.encode_images, batch, self._prepare)))
            # A short batch is the last one, so that continuous additions cannot keep this running.
            more = len(batch) == _BATCH
            done, last = done + len(batch), max([last, *(picture.id for picture in batch)])
            report(done, max(done, total))

    def _missing(self, session: Session, after: int) -> Sequence[Image]:
        missing = _without_encoding(self._index_version_id).where(Image.id > after)
        return session.scalars(missing.order_by(Image.id).limit(_BATCH)).all()

    def _keep(self, encoded: list[tuple[Image, NewEncoding]]) -> None:
        if encoded:
            with self._database.transaction() as session:
                changes.put_encodings(session, self._index_version_id, encoded)

    def _prepare(self, picture: Image) -> PILImage.Image | None:
        """Decode an image for the network; return None if it was deleted or replaced meanwhile."""
        try:
            return self._encodings.prepare(self._files.read(picture.sha256)).image
        except (OSError, ImageRejectedError) as error:
            if not self._is_current(picture):
                return None
            if isinstance(error, ImageRejectedError) and (remedy := _REMEDIES.get(error.code)):
                raise LookalikeError(
                    f"Image {picture.id} ({picture.key}): {error.reason} {remedy}, or delete the image, and run the "
                    "command again; it resumes where it stopped."
                ) from error
            raise DamagedOriginalError(picture.id, picture.key) from error

    def _is_current(self, picture: Image) -> bool:
        with self._database.read_session() as session:
            return session.scalar(select(Image.sha256).where(Image.id == picture.id)) == picture.sha256

    def _wait_for_services(self, present: VersionLocks, report: Report, patience: float) -> None:
        """Wait until every serving process has opened this index version; encode new images meanwhile."""
        until = time.monotonic() + patience
        while waiting := _count_unready(self._index_version_id, lock_holders(present.connection, VersionUse.OPEN)):
            if time.monotonic() > until:
                raise LookalikeError(
                    f"{waiting} of the running services cannot open the network yet, so the catalogue was not "
                    "switched. See their logs. Fix or stop these services, then run the command again; it resumes "
                    "where it stopped."
                )
            time.sleep(_POLL_S)
            self._fill(report)

    def _try_switch(self) -> bool:
        """Switch if few images are missing; additions are blocked meanwhile, so that none can be missed."""
        with suppress(DecodingUnavailableError), exclusive_lock(self._database, Lock.SWITCH):
            with self._database.read_session() as session:
                missing = self._missing(session, 0)
            if len(missing) == _BATCH:
                return False
            self._keep(self._encodings.encode_images(missing, self._prepare))
            with self._database.transaction() as session:
                changes.next_seq(session)
                if self._missing(session, 0):
                    return False
                index_versions.activate(session, self._index_version_id)
                return True
        # Too busy to decode: release the lock before the next attempt, so that additions do not wait.
        return False


def _without_encoding(index_version_id: int) -> Select[Image]:
    encoded = exists().where(Encoding.index_version_id == index_version_id, Encoding.image_id == Image.id)
    return select(Image).where(~encoded)


def _count_unready(index_version_id: int, opened_by: dict[int, set[int]]) -> int:
    """Count serving processes that have not opened an index version."""
    return len(set[int]().union(*opened_by.values()) - opened_by.get(index_version_id, set()))
