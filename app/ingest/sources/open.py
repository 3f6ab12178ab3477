"""Open a path as a source of entries: a folder, an archive, a table, or one image."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from app.errors import InvalidInputError
from app.ingest.sources.archives.archive import is_archive
from app.ingest.sources.archives.members import ArchiveLimits
from app.ingest.sources.archives.source import ArchiveSource
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


def open_sources(paths: Sequence[Path], limits: ArchiveLimits) -> list[Source]:
    """Open paths that are given together: the files of a table may lie in a folder, and are then entries of the table.

    Raises:
        InvalidInputError: a path does not exist or has an unsupported type.
    """
    folders = [path for path in paths if path.is_dir()]
    sources = [open_source(path, limits, folders) for path in paths]
    tables = [source for source in sources if isinstance(source, TableSource)]
    for source in sources:
        if isinstance(source, Folder):
            source.leave_to_table(chain.from_iterable(table.files() for table in tables))
    return sources


def open_source(path: Path, limits: ArchiveLimits, folders: Sequence[Path] = ()) -> Source:
    """Open a path as a source, by its type; `folders` may have the files of a table.

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
            return TableSource(path, limits.member_bytes, folders)
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
