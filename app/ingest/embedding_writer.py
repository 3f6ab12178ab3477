"""Write encodings of one index version: images → codes and F7 → slots → index."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from app.catalogue import changes
from app.catalogue.changes import NewEncoding
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Picture
from app.catalogue.storage.protocol import PictureStore
from app.errors import ImageRejectedError
from app.search.decode.prepare import Prepared, Preparer
from app.search.encode.batching import Encoder
from app.search.index import Index


class Encodings:
    """Encodes images with one network, and writes the vectors to one index version."""

    def __init__(
        self, database: Database, prepare: Preparer, encoder: Encoder, index: Index, generation_id: int
    ) -> None:
        self.generation_id = generation_id
        self._database, self._prepare, self._encoder, self._index = database, prepare, encoder, index

    def prepare(self, data: bytes, *, thumbnail: bool = False) -> Prepared:
        """Decode an image and resize it for the network.

        Raises:
            PictureRefusedError: the image cannot be used.
        """
        return self._prepare(data, thumbnail=thumbnail)

    def code(self, data: bytes) -> bytes:
        """Compute an image's code without storing it.

        Raises:
            PictureRefusedError: the image cannot be used.
        """
        code: bytes = self._encoder.encode_many([self._prepare(data).image]).codes[0].tobytes()
        return code

    def make(self, images: Sequence[Image.Image]) -> list[NewEncoding]:
        """Encode prepared images and write their vectors; they become visible when their rows are committed.

        Raises:
            UnavailableError: disk, index or database cannot be used.
        """
        if not images:
            return []
        encoded = self._encoder.encode_many(images)
        with self._database.begin() as session:
            slots = changes.reserve_slots(session, self.generation_id, len(images))
        try:
            kept = self._index.keep(slots, encoded)
        except BaseException:
            self._index.discard(slots)
            raise
        return [
            NewEncoding(int(slot), code.tobytes(), int(checksum), kept.moment)
            for slot, code, checksum in zip(slots, encoded.codes, kept.checksums, strict=True)
        ]

    def of(
        self, pictures: Sequence[Picture], prepared: Callable[[Picture], Image.Image | None]
    ) -> list[tuple[Picture, NewEncoding]]:
        """Encode images of the catalogue again; skip those for which `prepared` returns None.

        Raises:
            UnavailableError: disk, index or database cannot be used.
        """
        with ThreadPoolExecutor(os.cpu_count()) as cores:
            images = list(cores.map(prepared, pictures))
        ready = [(picture, image) for picture, image in zip(pictures, images, strict=True) if image is not None]
        made = self.make([image for _, image in ready])
        return [(picture, new) for (picture, _), new in zip(ready, made, strict=True)]

    def of_originals(self, files: PictureStore, pictures: Sequence[Picture]) -> list[tuple[Picture, NewEncoding]]:
        """Encode images of the catalogue from their originals; skip missing and damaged ones.

        Raises:
            UnavailableError: disk, index or database cannot be used, or the machine is too busy to decode.
        """

        def prepared(picture: Picture) -> Image.Image | None:
            try:
                return self._prepare(files.read(picture.sha256)).image
            except (OSError, ImageRejectedError):
                return None

        return self.of(pictures, prepared)

    def discard(self, slots: Sequence[int]) -> None:
        """Release slots that no image uses any more."""
        if slots:
            self._index.discard(np.array(slots, np.int64))
