"""Opens the storage of originals and thumbnails that the settings name."""

from pathlib import Path

from app.catalogue.storage.fsync_guard import Disk
from app.catalogue.storage.local import PictureFiles
from app.catalogue.storage.protocol import PictureStore
from app.errors import LookalikeError


def open_pictures(location: str | None, data_dir: Path, disk: Disk | None = None) -> PictureStore:
    """Opens the bucket that is named, or the data folder's own pictures.

    Raises:
        LookalikeError: the bucket cannot be used; the text says why.
    """
    if location is None:
        return PictureFiles(data_dir / "pictures", disk)
    try:
        from app.catalogue.storage.s3 import PictureBucket
    except ImportError as error:
        raise LookalikeError(
            f"Pictures in {location} want a package that is not installed: pip install 'lookalike[s3]'."
        ) from error
    bucket = PictureBucket(location)
    bucket.require()
    return bucket
