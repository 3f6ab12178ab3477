"""Local storage: originals and thumbnails in a folder, named by the SHA-256 of the original's bytes.

An original is synced before it is renamed to its final name, so a name always refers to a complete file. Thumbnails can
be regenerated from originals and are not synced. Files have mode 0600.
"""

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

from app.catalogue.storage.fsync_guard import FsyncGuard, seconds_since_write
from app.catalogue.storage.protocol import CHUNK_BYTES, OriginalStream, original_name, thumbnail_name
from app.common import private_modes
from app.errors import UnavailableError


def content_hash(data: bytes) -> str:
    """Return the SHA-256 of an image's bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


class LocalStorage:
    """Image store in a local folder."""

    # A failed deletion is never carried out later.
    max_delay_s = 0.0

    def __init__(self, folder: Path, disk: FsyncGuard | None = None) -> None:
        self._disk, self._folder = disk or FsyncGuard(), folder

    def original(self, sha256: str) -> Path:
        """Return the path of an original, which need not exist."""
        return self._folder / original_name(sha256)

    def thumbnail(self, sha256: str) -> Path:
        """Return the path of an original's thumbnail, which need not exist."""
        return self._folder / thumbnail_name(sha256)

    def store(self, originals: Mapping[str, bytes]) -> None:
        """Write and sync originals by hash; existing ones are not written again.

        Raises:
            UnavailableError: the disk is full or has failed.
        """
        self._disk.require_healthy()
        missing = {self.original(sha): originals[sha] for sha in self.missing(originals)}
        temporaries: dict[Path, Path] = {}
        try:
            for path, data in missing.items():
                temporaries[path] = self._write_temporary(path, data)
            for path, temporary in temporaries.items():
                self._disk.sync_path(temporary)
                temporary.replace(path)
            # Also for existing originals: the process that stored them may not have synced the folder yet.
            for folder in {self.original(sha).parent for sha in originals}:
                self._disk.sync_path(folder)
        except (OSError, UnavailableError) as error:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._disk.translate_error(error, "images") from error
            raise

    def missing(self, hashes: Collection[str]) -> set[str]:
        """Return which originals do not exist; see `PictureStore.missing`."""
        return {sha256 for sha256 in hashes if not self.original(sha256).exists()}

    def set_aside(self, sha256: str) -> None:
        """Move a damaged original away; see `PictureStore.set_aside`."""
        folder = self._folder / "damaged"
        private_modes.make_folder(folder)
        self.original(sha256).rename(folder / sha256)

    def store_thumbnails(self, thumbnails: Mapping[str, bytes]) -> None:
        """Write thumbnails, each atomically."""
        try:
            for sha256, data in thumbnails.items():
                path = self.thumbnail(sha256)
                self._write_temporary(path, data).replace(path)
        except OSError as error:
            raise self._disk.translate_error(error, "images") from error

    def read(self, sha256: str) -> bytes:
        """Read an original; see `PictureStore.read`."""
        return self.original(sha256).read_bytes()

    def open(self, sha256: str) -> OriginalStream:
        """Open an original for streaming; see `PictureStore.open`."""
        file = self.original(sha256).open("rb")
        return OriginalStream(os.fstat(file.fileno()).st_size, iter(partial(file.read, CHUNK_BYTES), b""), file.close)

    def read_thumbnail(self, sha256: str) -> bytes:
        """Read a thumbnail; see `PictureStore.read_thumbnail`."""
        return self.thumbnail(sha256).read_bytes()

    def remove(self, sha256: str) -> None:
        """Delete an original and its thumbnail; see `PictureStore.remove`."""
        # In this order: a crash in between leaves an original, which `lookalike check` finds.
        self.thumbnail(sha256).unlink(missing_ok=True)
        self.original(sha256).unlink(missing_ok=True)

    def remove_unfinished(self, sha256: str, process: int) -> None:
        """Delete temporary files; see `PictureStore.remove_unfinished`."""
        for path in (self.original(sha256), self.thumbnail(sha256)):
            for temporary in path.parent.glob(f".{path.name}.{process}.*"):
                temporary.unlink(missing_ok=True)

    def hashes(self, older_than: float | None = None) -> Iterable[str]:
        """List originals; see `PictureStore.hashes`."""
        named = (path for path in self._folder.glob("originals/??/*") if not path.name.startswith("."))
        return (path.name for path in named if older_than is None or seconds_since_write(path) > older_than)

    def _write_temporary(self, path: Path, data: bytes) -> Path:
        if not path.parent.exists():
            private_modes.make_folder(path.parent)
            self._disk.sync_path(path.parent.parent)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
        try:
            with self._disk.reserved(len(data)):
                private_modes.write_file(temporary, data)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary
