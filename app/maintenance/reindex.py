"""Reindex: encode the catalogue with another network into a second index version, then switch to it.

An interrupted run resumes where it stopped. The old index version is kept, so switching back encodes only newer images.
F7 that the feature set has already, because another of its versions needed it, is not stored again.
"""

from collections.abc import Callable, Sequence
from functools import partial

from PIL import Image as PILImage
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.catalogue import index_versions
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Encoding, Image
from app.catalogue.encodings import NewEncoding, put_encodings, sibling_slots
from app.catalogue.storage.protocol import ImageStorage
from app.errors import DamagedOriginalError, ImageRejectedError, LookalikeError
from app.ingest.embedding_writer import EmbeddingWriter
from app.maintenance.switchover import SWITCH_TIMEOUT_S, fill_and_switch
from app.search.decode.retries import retry_while_unavailable

_BATCH = 64
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
        self.index_version_id = encodings.index_version_id

    def run(self, report: Report, patience: float = SWITCH_TIMEOUT_S) -> None:
        """Encode the missing images, then switch; `report` is called with (done, total).

        Raises:
            DamagedOriginalError: an original is missing or cannot be read.
            DecodingUnavailableError: the machine is too busy to decode pictures, for minutes.
            LookalikeError: an original exceeds a limit of the settings; or a serving process cannot open the network
                within `patience` seconds.
        """
        fill_and_switch(self._database, self, report, patience)

    def fill(self, report: Report) -> None:
        """Encode images that this index version lacks, in order of id; images added meanwhile may remain."""
        with self._database.read_session() as session:
            done, total = index_versions.encoded_and_total(session, self.index_version_id)
        last, more = 0, True
        while more:
            with self._database.read_session() as session:
                batch = self._missing(session, last)
            self._keep(retry_while_unavailable(partial(self._encode, batch)))
            # A short batch is the last one, so that continuous additions cannot keep this running.
            more = len(batch) == _BATCH
            done, last = done + len(batch), max([last, *(picture.id for picture in batch)])
            report(done, max(done, total))

    def fill_last(self) -> bool:
        """Encode the last missing images; return False if there are too many."""
        with self._database.read_session() as session:
            missing = self._missing(session, 0)
        if len(missing) == _BATCH:
            return False
        self._keep(self._encode(missing))
        return True

    def is_complete(self, session: Session) -> bool:
        """Return whether all images are encoded."""
        return not self._missing(session, 0)

    def _missing(self, session: Session, after: int) -> Sequence[Image]:
        encoded = exists().where(Encoding.index_version_id == self.index_version_id, Encoding.image_id == Image.id)
        missing = select(Image).where(~encoded, Image.id > after)
        return session.scalars(missing.order_by(Image.id).limit(_BATCH)).all()

    def _encode(self, batch: Sequence[Image]) -> list[tuple[Image, NewEncoding]]:
        with self._database.read_session() as session:
            stored = sibling_slots(session, self.index_version_id, [picture.id for picture in batch])
        return self._encodings.encode_images(batch, self._prepare, stored)

    def _keep(self, encoded: list[tuple[Image, NewEncoding]]) -> None:
        if encoded:
            with self._database.transaction() as session:
                put_encodings(session, self.index_version_id, encoded)

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
