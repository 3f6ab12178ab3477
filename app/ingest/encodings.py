"""Makes encodings of one generation: pictures → codes and F7 → slots → vectors on disk, synced."""

from collections.abc import Sequence

from PIL import Image

from app.catalogue import changes
from app.catalogue.changes import NewEncoding
from app.catalogue.database import Database
from app.catalogue.vectors import VectorFile
from app.search.encode import Encoder
from app.search.prepare import Prepared, Preparer


class Encodings:
    """One network, and the generation that it fills."""

    def __init__(
        self, database: Database, prepare: Preparer, encoder: Encoder, vectors: VectorFile, generation_id: int
    ) -> None:
        self.generation_id = generation_id
        self._database, self._prepare, self._encoder, self._vectors = database, prepare, encoder, vectors

    def prepare(self, data: bytes, *, thumbnail: bool = False) -> Prepared:
        """Decodes a picture, down to what the network reads of it.

        Raises:
            PictureRefusedError: it cannot be used.
        """
        return self._prepare(data, thumbnail=thumbnail)

    def code(self, data: bytes) -> bytes:
        """Returns the code that the network gives a picture, and keeps nothing of it.

        Raises:
            PictureRefusedError: it cannot be used.
        """
        code: bytes = self._encoder.encode_many([self._prepare(data).image]).codes[0].tobytes()
        return code

    def make(self, images: Sequence[Image.Image]) -> list[NewEncoding]:
        """Encodes prepared pictures and writes their vectors; nothing of it is visible before a commit says so.

        Raises:
            UnavailableError: disk or database cannot be used.
        """
        if not images:
            return []
        encoded = self._encoder.encode_many(images)
        with self._database.begin() as session:
            slots = changes.reserve_slots(session, self.generation_id, len(images))
        checksums = self._vectors.write(slots, encoded.features)
        return [
            NewEncoding(int(slot), code.tobytes(), int(checksum))
            for slot, code, checksum in zip(slots, encoded.codes, checksums, strict=True)
        ]
