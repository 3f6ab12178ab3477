"""Originals and thumbnails on disk, by the SHA-256 of the original's bytes.

An original is synced before it gets its name, so a name always stands for a whole picture. Thumbnails can be made
again from originals and are not synced. Names that people give never become paths. Knows nothing of SQL.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from app.catalogue.disk import NO_SPACE, Disk
from app.errors import UnavailableError


def content_hash(data: bytes) -> str:
    """Returns the SHA-256 of a picture's bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class PictureFiles:
    """The folder of originals and thumbnails."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._disk = disk or Disk()
        self._originals, self._thumbnails = folder / "originals", folder / "thumbnails"

    def original(self, sha256: str) -> Path:
        """Returns where the original with this hash is, or would be."""
        return self._originals / sha256[:2] / sha256

    def thumbnail(self, sha256: str) -> Path:
        """Returns where the thumbnail of the original with this hash is, or would be."""
        return self._thumbnails / sha256[:2] / f"{sha256}.jpg"

    def store(self, originals: Mapping[str, bytes]) -> None:
        """Writes originals by hash; when this returns they survive a power cut. Those already there stay.

        Raises:
            UnavailableError: the disk is full or has failed.
        """
        self._disk.require()
        missing = {self.original(sha): data for sha, data in originals.items() if not self.original(sha).exists()}
        temporaries: dict[Path, Path] = {}
        try:
            for path, data in missing.items():
                temporaries[path] = self._write_temporary(path, data)
            for path, temporary in temporaries.items():
                self._disk.sync_path(temporary)
                temporary.replace(path)
            for folder in {path.parent for path in missing}:
                self._disk.sync_path(folder)
        except (OSError, UnavailableError) as error:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
            raise _explained(error) from error

    def store_thumbnail(self, sha256: str, data: bytes) -> None:
        """Writes a thumbnail, all of it or none."""
        path = self.thumbnail(sha256)
        try:
            self._write_temporary(path, data).replace(path)
        except OSError as error:
            raise _explained(error) from error

    def remove(self, sha256: str) -> None:
        """Deletes an original and its thumbnail."""
        self.original(sha256).unlink(missing_ok=True)
        self.thumbnail(sha256).unlink(missing_ok=True)

    def hashes(self) -> Iterable[str]:
        """Lists the hashes of all originals that are there."""
        return (path.name for path in self._originals.glob("??/*") if not path.name.startswith("."))

    def _write_temporary(self, path: Path, data: bytes) -> Path:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._disk.sync_path(path.parent.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            temporary.write_bytes(data)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary


def _explained(error: OSError | UnavailableError) -> Exception:
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return UnavailableError("The disk that holds the pictures is full.", retry_after=60)
    return error
