"""Originals and thumbnails in a folder, by the SHA-256 of the original's bytes.

An original is synced before it gets its name, so a name always stands for a whole picture. Thumbnails can be made
again from originals and are not synced. Only the owner may read either.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

from app.catalogue.storage.fsync_guard import Disk, age
from app.catalogue.storage.protocol import CHUNK_BYTES, OpenPicture, original_name, thumbnail_name
from app.common import private_modes as private
from app.errors import UnavailableError


def content_hash(data: bytes) -> str:
    """Returns the SHA-256 of a picture's bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class PictureFiles:
    """The folder of originals and thumbnails."""

    # What failed or belonged to a process that has ended does not happen later.
    late_s = 0.0

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self._disk, self._folder = disk or Disk(), folder

    def original(self, sha256: str) -> Path:
        """Returns where the original with this hash is, or would be."""
        return self._folder / original_name(sha256)

    def thumbnail(self, sha256: str) -> Path:
        """Returns where the thumbnail of the original with this hash is, or would be."""
        return self._folder / thumbnail_name(sha256)

    def store(self, originals: Mapping[str, bytes]) -> None:
        """Writes originals by hash; when this returns they survive a power cut. Those already there stay.

        Raises:
            UnavailableError: the disk is full or has failed.
        """
        self._disk.require()
        missing = {self.original(sha): originals[sha] for sha in self.missing(originals)}
        temporaries: dict[Path, Path] = {}
        try:
            for path, data in missing.items():
                temporaries[path] = self._write_temporary(path, data)
            for path, temporary in temporaries.items():
                self._disk.sync_path(temporary)
                temporary.replace(path)
            # Also for those already there: whoever stored them may not have come so far yet.
            for folder in {self.original(sha).parent for sha in originals}:
                self._disk.sync_path(folder)
        except (OSError, UnavailableError) as error:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._disk.refusal(error, "pictures") from error
            raise

    def missing(self, hashes: Collection[str]) -> set[str]:
        """Returns which originals are not there; see `PictureStore.missing`."""
        return {sha256 for sha256 in hashes if not self.original(sha256).exists()}

    def set_aside(self, sha256: str) -> None:
        """Moves a damaged original away; see `PictureStore.set_aside`."""
        folder = self._folder / "damaged"
        private.make_folder(folder)
        self.original(sha256).rename(folder / sha256)

    def store_thumbnails(self, thumbnails: Mapping[str, bytes]) -> None:
        """Writes thumbnails, each whole or not at all."""
        try:
            for sha256, data in thumbnails.items():
                path = self.thumbnail(sha256)
                self._write_temporary(path, data).replace(path)
        except OSError as error:
            raise self._disk.refusal(error, "pictures") from error

    def read(self, sha256: str) -> bytes:
        """Reads an original; see `PictureStore.read`."""
        return self.original(sha256).read_bytes()

    def open(self, sha256: str) -> OpenPicture:
        """Opens an original to be sent piece by piece; see `PictureStore.open`."""
        file = self.original(sha256).open("rb")
        return OpenPicture(os.fstat(file.fileno()).st_size, iter(partial(file.read, CHUNK_BYTES), b""), file.close)

    def read_thumbnail(self, sha256: str) -> bytes:
        """Reads a thumbnail; see `PictureStore.read_thumbnail`."""
        return self.thumbnail(sha256).read_bytes()

    def remove(self, sha256: str) -> None:
        """Deletes an original and its thumbnail; see `PictureStore.remove`."""
        # In this order: what a crash in between leaves is an original, which a check finds.
        self.thumbnail(sha256).unlink(missing_ok=True)
        self.original(sha256).unlink(missing_ok=True)

    def remove_unfinished(self, sha256: str, process: int) -> None:
        """Deletes half-written files; see `PictureStore.remove_unfinished`."""
        for path in (self.original(sha256), self.thumbnail(sha256)):
            for temporary in path.parent.glob(f".{path.name}.{process}.*"):
                temporary.unlink(missing_ok=True)

    def hashes(self, older_than: float | None = None) -> Iterable[str]:
        """Lists originals; see `PictureStore.hashes`."""
        named = (path for path in self._folder.glob("originals/??/*") if not path.name.startswith("."))
        return (path.name for path in named if older_than is None or age(path) > older_than)

    def _write_temporary(self, path: Path, data: bytes) -> Path:
        if not path.parent.exists():
            private.make_folder(path.parent)
            self._disk.sync_path(path.parent.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            with self._disk.claimed(len(data)):
                private.write(temporary, data)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary
