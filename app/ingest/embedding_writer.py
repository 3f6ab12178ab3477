"""Write encodings of one index version: images → codes and F7 → slots → index."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image as PILImage

from app.catalogue import changes
from app.catalogue.changes import NewEncoding
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.storage.protocol import ImageStorage
from app.errors import ImageRejectedError
from app.search.decode.prepare import ImagePreparer, PreparedImage
from app.search.encode.batching import Encoder
from app.search.index import Index


class EmbeddingWriter:
    """Encodes images with one network, and writes the vectors to one index version."""

    def __init__(
        self, database: Database, prepare: ImagePreparer, encoder: Encoder, index: Index, index_version_id: int
    ) -> None:
        self.index_version_id = index_version_id
        self._database, self._prepare, self._encoder, self._index = database, prepare, encoder, index

    def prepare(self, data: bytes, *, thumbnail: bool = False) -> PreparedImage:
        """Decode an image and resize it for the network.

        Raises:
            ImageRejectedError: the image cannot be used.
        """
        return self._prepare(data, thumbnail=thumbnail)

    def compute_code(self, data: bytes) -> bytes:
        """Compute an image's code without storing it.

        Raises:
            ImageRejectedError: the image cannot be used.
        """
        code: bytes = self._encoder.encode_many([self._prepare(data).image]).codes[0].tobytes()
        return code

    def encode(self, images: Sequence[PILImage.Image]) -> list[NewEncoding]:
        """Encode prepared images and write their vectors; they become visible when their rows are committed.

        Raises:
            UnavailableError: disk, index or database cannot be used.
        """
        if not images:
            return []
        encoded = self._encoder.encode_many(images)
        with self._database.transaction() as session:
            slots = changes.reserve_slots(session, self.index_version_id, len(images))
        try:
            kept = self._index.store(slots, encoded)
        except BaseException:
            self._index.free(slots)
            raise
        return [
            NewEncoding(int(slot), code.tobytes(), int(checksum), kept.milvus_timestamp)
            for slot, code, checksum in zip(slots, encoded.codes, kept.checksums, strict=True)
        ]

    def encode_images(
        self, pictures: Sequence[Image], prepared: Callable[[Image], PILImage.Image | None]
    ) -> list[tuple[Image, NewEncoding]]:
        """Encode images of the catalogue again; skip those for which `prepared` returns None.

        Raises:
            UnavailableError: disk, index or database cannot be used.
        """
        with ThreadPoolExecutor(os.cpu_count()) as cores:
            images = list(cores.map(prepared, pictures))
        ready = [(picture, image) for picture, image in zip(pictures, images, strict=True) if image is not None]
        made = self.encode([image for _, image in ready])
        return [(picture, new) for (picture, _), new in zip(ready, made, strict=True)]

    def encode_originals(self, files: ImageStorage, pictures: Sequence[Image]) -> list[tuple[Image, NewEncoding]]:
        """Encode images of the catalogue from their originals; skip missing and damaged ones.

        Raises:
            UnavailableError: disk, index or database cannot be used, or the machine is too busy to decode.
        """

        def prepared(picture: Image) -> PILImage.Image | None:
            try:
                return self._prepare(files.read(picture.sha256)).image
            except (OSError, ImageRejectedError):
                return None

        return self.encode_images(pictures, prepared)

    def discard(self, slots: Sequence[int]) -> None:
        """Release slots that no image uses any more."""
        if slots:
            self._index.free(np.array(slots, np.int64))
