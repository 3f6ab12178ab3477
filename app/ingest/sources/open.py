"""Open a path as a source of entries: a folder, an archive, a table, or one image."""

from collections.abc import Iterator
from pathlib import Path

from app.errors import InvalidInputError
from app.ingest.sources.archive import is_archive
from app.ingest.sources.archive_members import ArchiveLimits
from app.ingest.sources.archive_source import ArchiveSource
from app.ingest.sources.folder import Folder
from app.ingest.sources.items import Entry, Source, file_entry, text
from app.ingest.sources.table import SUFFIXES
from app.ingest.sources.table_source import TableSource
from models.data.image_files import is_image_name
from models.data.left_out import LeftOut


class SingleFile:
    """One image file; its key is its name."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit, self.left_out = path, limit, LeftOut()

    def count(self) -> int:
        """One."""
        return 1

    def __iter__(self) -> Iterator[Entry]:
        """Yield the file."""
        yield file_entry(self._path, text(str(self._path)), text(self._path.name), {}, self._limit)


def open_source(path: Path, limits: ArchiveLimits) -> Source:
    """Open a path as a source, by its type.

    Raises:
        InvalidInputError: the path does not exist or has an unsupported type.
    """
    name = text(str(path))
    try:
        if path.is_dir():
            return Folder(path, limits.member_bytes)
        if not path.is_file():
            raise InvalidInputError(name, "does not exist" if not path.exists() else "is neither a file nor a folder")
        if path.suffix.lower() in SUFFIXES:
            return TableSource(path, limits.member_bytes)
        if is_image_name(path.name):
            return SingleFile(path, limits.member_bytes)
        if is_archive(path):
            return ArchiveSource(path, limits, name)
    except OSError as error:
        raise InvalidInputError(name, f"cannot be read: {error.strerror}") from error
    raise InvalidInputError(
        name,
        "is neither a folder, an archive (zip, tar, tar.gz), a table (.csv, .tsv, .jsonl) nor an image, by its name",
    )
