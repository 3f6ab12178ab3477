"""Compare stored images by their pixels: small, upright, decoded in confined processes."""

from collections.abc import Sequence

from PIL import Image

from app.catalogue import queries
from app.catalogue.database.sessions import Database
from app.catalogue.database.single_flight import ResultCache
from app.catalogue.duplicates.distinct_pairs import distinct_from
from app.catalogue.queries import OriginalSize
from app.catalogue.storage.protocol import ImageStorage
from app.errors import ImageRejectedError
from app.search.decode.image import Crop, thumbnail_size
from app.search.decode.prepare import ImagePreparer
from app.search.same_picture import Signature, same_pictures, same_proportions, signature

# About 2 kB each.
_CACHED_SIGNATURES = 20_000


class StoredPictures:
    """Signatures of stored images, cached by the hash of their originals. Thread-safe.

    They are read from thumbnails, which take a tenth of the time of originals; from the original if the thumbnail is
    missing.
    """

    def __init__(self, database: Database, storage: ImageStorage, prepare: ImagePreparer) -> None:
        self._database, self._storage, self._prepare = database, storage, prepare
        self._signatures: ResultCache[str, Signature] = ResultCache(_CACHED_SIGNATURES)

    def same_as(self, image_id: int, others: Sequence[int]) -> set[int]:
        """Return which of some images show the same picture as an image, by their ids.

        Deleted images, and images whose files are missing or damaged, show no picture; equal files show the same.
        """
        if not others:
            return set()
        with self._database.read_connection() as connection:
            originals = queries.original_sizes(connection, [image_id, *others])
        if image_id not in originals:
            return set()
        own = originals.pop(image_id)
        equal = {other for other, original in originals.items() if original.sha256 == own.sha256}
        if (signature_of_own := self._signature(own)) is None:
            return equal
        # Files of other proportions are not read.
        alike = {other: original for other, original in originals.items() if same_proportions(own, original)}
        signatures = {other: self._signature(alike[other]) for other in alike.keys() - equal}
        known = {other: found for other, found in signatures.items() if found is not None}
        same = same_pictures(signature_of_own, list(known.values()))
        return equal | {other for other, is_same in zip(known, same.tolist(), strict=True) if is_same}

    def distinct_from(self, image_id: int) -> set[int]:
        """Return the images that are not duplicates of an image, because a person has decided so."""
        with self._database.read_connection() as connection:
            return distinct_from(connection, image_id)

    def _signature(self, original: OriginalSize) -> Signature | None:
        """Return the signature of an original; None if its files are missing or damaged."""
        try:
            return self._signatures.get(original.sha256, lambda: self._read(original))
        except (FileNotFoundError, ImageRejectedError):
            return None

    def _read(self, original: OriginalSize) -> Signature:
        size = original.width, original.height
        try:
            whole = self._decode_whole(self._storage.read_thumbnail(original.sha256), *thumbnail_size(*size))
        except (FileNotFoundError, ImageRejectedError):
            whole = self._decode_whole(self._storage.read(original.sha256), *size)
        return signature(whole, *size)

    def _decode_whole(self, data: bytes, width: int, height: int) -> Image.Image:
        """Decode as if a person had drawn the part: the whole picture, whatever the network cuts off.

        A thumbnail of an earlier version may have another size than expected, and is decoded again.
        """
        try:
            decoded = self._prepare(data, crop=Crop(0, 0, width, height))
            if (decoded.width, decoded.height) == (width, height):
                return decoded.image
        except ImageRejectedError as error:
            if error.code != "crop_outside_image":
                raise
        decoded = self._prepare(data)
        return self._prepare(data, crop=Crop(0, 0, decoded.width, decoded.height)).image
