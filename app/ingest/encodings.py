"""Makes encodings of one generation: pictures → codes and F7 → slots → vectors on disk, synced."""

from collections.abc import Sequence

from PIL import Image

from app.catalogue import changes
from app.catalogue.changes import NewEncoding
from app.catalogue.database import Database
from app.catalogue.vectors import VectorFile
from app.search.decode import DecodeLimits, Picture, decode
from app.search.encode import Encoder


class Encodings:
    """One network, and the generation that it fills."""

    def __init__(
        self, database: Database, encoder: Encoder, vectors: VectorFile, generation_id: int, limits: DecodeLimits
    ) -> None:
        self.generation_id = generation_id
        self._database, self._encoder, self._vectors, self._limits = database, encoder, vectors, limits

    def decode(self, data: bytes) -> Picture:
        """Decodes a picture as large as the network needs it.

        Raises:
            PictureRefusedError: it cannot be used.
        """
        return decode(data, self._limits, side=self._encoder.size)

    def prepare(self, image: Image.Image) -> Image.Image:
        """Returns what the network will read of a picture: little enough to hold many."""
        return self._encoder.prepare(image)

    def make(self, images: Sequence[Image.Image]) -> list[NewEncoding]:
        """Encodes pictures and writes their vectors; nothing of it is visible before a commit says so.

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
