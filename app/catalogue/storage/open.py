"""Open the configured storage of originals and thumbnails."""

from pathlib import Path

from app.catalogue.storage.fsync_guard import Disk
from app.catalogue.storage.local import PictureFiles
from app.catalogue.storage.protocol import PictureStore
from app.errors import LookalikeError


def open_pictures(location: str | None, data_dir: Path, disk: Disk | None = None) -> PictureStore:
    """Open the S3 bucket at `location`, or local storage in the data folder without one.

    Raises:
        LookalikeError: the bucket cannot be used.
    """
    if location is None:
        return PictureFiles(data_dir / "pictures", disk)
    try:
        from app.catalogue.storage.s3 import PictureBucket
    except ImportError as error:
        raise LookalikeError(
            f"The storage {location} needs a package that is not installed. Run: pip install 'lookalike[s3]'."
        ) from error
    bucket = PictureBucket(location)
    bucket.require()
    return bucket
