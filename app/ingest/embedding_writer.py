"""Write encodings of one index version: images → codes and F7 → slots → index."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import numpy as np
from PIL import Image as PILImage

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.encodings import NewEncoding, StoredSlot, reserve_slots
from app.catalogue.storage.protocol import ImageStorage
from app.errors import ImageRejectedError
from app.search.decode.prepare import ImagePreparer, PreparedImage
from app.search.encode.batching import Encoder
from app.search.index import Index
from app.search.types import Encodings
from models.network.latent_layer import LatentLayer


class EmbeddingWriter:
    """Encodes images with one network, and writes the vectors to one index version.

    With `latent`, codes are computed by this H from F7 as it is stored, instead of by the network.
    """

    def __init__(
        self,
        database: Database,
        prepare: ImagePreparer,
        encoder: Encoder,
        index: Index,
        index_version_id: int,
        latent: LatentLayer | None = None,
    ) -> None:
        self.index_version_id, self._latent = index_version_id, latent
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
        code: bytes = self._encode_many([self._prepare(data).image]).codes[0].tobytes()
        return code

    def encode(self, images: Sequence[PILImage.Image]) -> list[NewEncoding]:
        """Encode prepared images and write their vectors; they become visible when their rows are committed.

        Raises:
            UnavailableError: disk, index or database cannot be used.
        """
        if not images:
            return []
        encoded = self._encode_many(images)
        with self._database.transaction() as session:
            slots = reserve_slots(session, self.index_version_id, len(images))
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
        self,
        pictures: Sequence[Image],
        prepared: Callable[[Image], PILImage.Image | None],
        stored: Mapping[int, StoredSlot] = MappingProxyType({}),
    ) -> list[tuple[Image, NewEncoding]]:
        """Encode images of the catalogue again; skip those for which `prepared` returns None.

        Args:
            pictures: the images.
            prepared: decodes an image for the network.
            stored: images whose F7 the feature set has already, by id; it is not written again.

        Raises:
            UnavailableError: disk, index or database cannot be used.
        """
        with ThreadPoolExecutor(os.cpu_count()) as cores:
            images = list(cores.map(prepared, pictures))
        ready = [(picture, image) for picture, image in zip(pictures, images, strict=True) if image is not None]
        known = [(picture, image) for picture, image in ready if picture.id in stored]
        new = [(picture, image) for picture, image in ready if picture.id not in stored]
        made = [
            *self._encode_stored([image for _, image in known], [stored[picture.id] for picture, _ in known]),
            *self.encode([image for _, image in new]),
        ]
        return [(picture, encoding) for (picture, _), encoding in zip([*known, *new], made, strict=True)]

    def _encode_stored(self, images: Sequence[PILImage.Image], stored: Sequence[StoredSlot]) -> list[NewEncoding]:
        """Compute the codes of images whose F7 is stored."""
        if not images:
            return []
        codes = self._encode_many(images).codes
        timestamp = self._index.store_codes(np.array([one.slot for one in stored], np.int64), codes)
        return [
            NewEncoding(one.slot, code.tobytes(), one.checksum, timestamp)
            for one, code in zip(stored, codes, strict=True)
        ]

    def encode_originals(
        self,
        files: ImageStorage,
        pictures: Sequence[Image],
        stored: Mapping[int, StoredSlot] = MappingProxyType({}),
    ) -> list[tuple[Image, NewEncoding]]:
        """Encode images of the catalogue from their originals; skip missing and damaged ones.

        Args:
            files: storage of the originals.
            pictures: the images.
            stored: see `encode_images`.

        Raises:
            UnavailableError: disk, index or database cannot be used, or the machine is too busy to decode.
        """

        def prepared(picture: Image) -> PILImage.Image | None:
            try:
                return self._prepare(files.read(picture.sha256)).image
            except (OSError, ImageRejectedError):
                return None

        return self.encode_images(pictures, prepared, stored)

    def _encode_many(self, images: Sequence[PILImage.Image]) -> Encodings:
        encoded = self._encoder.encode_many(images)
        if self._latent is None:
            return encoded
        return Encodings(self._latent.codes(self._index.as_stored(encoded.features)), encoded.features)

    def discard(self, slots: Sequence[int]) -> None:
        """Release slots that no image uses any more."""
        if slots:
            self._index.free(np.array(slots, np.int64))
