"""Open the configured storage of originals and thumbnails."""

from pathlib import Path

from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.storage.local import LocalStorage
from app.catalogue.storage.protocol import ImageStorage
from app.errors import LookalikeError


def open_storage(location: str | None, data_dir: Path, disk: FsyncGuard | None = None) -> ImageStorage:
    """Open the S3 bucket at `location`, or local storage in the data folder without one.

    Raises:
        LookalikeError: the bucket cannot be used.
    """
    if location is None:
        return LocalStorage(data_dir / "pictures", disk)
    try:
        from app.catalogue.storage.s3 import S3Storage
    except ImportError as error:
        raise LookalikeError(
            f"The storage {location} needs a package that is not installed. Run: pip install 'lookalike[s3]'."
        ) from error
    bucket = S3Storage(location)
    bucket.require()
    return bucket
