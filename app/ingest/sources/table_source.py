"""Table of image files as a source; the table is read by a separate process, the images by this one.

A row's path starts from the table's folder, or else from one of the folders that are given beside the table.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from app.common.unicode_names import PathFinder
from app.errors import InvalidInputError
from app.ingest.jobs.stop import Stop
from app.ingest.sources.items import Entry, file_entry, text, unusable
from app.ingest.sources.reader import Reader, ReaderJob
from app.ingest.sources.reader_protocol import Frame, number_of, patch_of, text_of
from app.ingest.sources.table import SUFFIXES, TableLimits
from models.data.left_out import LeftOut

# Higher than for archives, because rows are streamed.
_ROWS = 10_000_000
# Several copies of a row are in memory.
_BYTES_PER_CHARACTER = 100


class TableSource:
    """The image files of a table.

    Args:
        path: the table.
        limit: larger files are rejected, in bytes.
        folders: where files are looked for that the table's own folder lacks.
        rows: the maximum number of rows.

    Attributes:
        left_out: nothing, because a table names its files.
    """

    def __init__(self, path: Path, limit: int, folders: Sequence[Path] = (), rows: int = _ROWS) -> None:
        self._path, self._limit, self._name = path, limit, text(str(path))
        self._folders = tuple(dict.fromkeys((path.parent, *folders)))
        self._finders, self.left_out = [PathFinder(folder) for folder in self._folders], LeftOut()
        limits = TableLimits(rows)
        memory = _BYTES_PER_CHARACTER * limits.characters
        self._job = ReaderJob(SUFFIXES[path.suffix.lower()], self._name, asdict(limits), memory=memory)

    def count(self) -> int:
        """Number of rows."""
        with Reader(self._path, self._job, Stop()) as reader:
            return reader.total

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries of all rows; if none of their files exists, one entry instead, with the paths tried."""
        if (wrong := self._no_file_found()) is not None:
            yield unusable(self._name, wrong)
        with Reader(self._path, self._job, Stop()) as reader:
            for entry, is_row in reader.read(lambda frame: (self._entry(frame), "problem" not in frame.header)):
                if wrong is None or not is_row:
                    yield entry
            if reader.failure is not None:
                yield unusable(f"{self._name}: rest of the table", reader.failure)

    def keys(self) -> Iterator[str]:
        """Yield the keys of all rows, by the column `key`, or else `file`; the files need not exist.

        Raises:
            InvalidInputError: the table cannot be read to its end.
        """
        yield from (key for _, key in self._rows())

    def files(self) -> Iterator[Path]:
        """Yield the files of all rows that can be read, where they were found."""
        with suppress(InvalidInputError):
            yield from (path for file, _ in self._rows() if (path := self._find(file)) is not None)

    def _rows(self) -> Iterator[tuple[str, str]]:
        """Yield file and key of the rows without a problem."""
        with Reader(self._path, self._job, Stop()) as reader:
            for row in reader.read(_file_and_key):
                if row is not None:
                    yield row
            if reader.failure is not None:
                raise InvalidInputError(self._name, reader.failure)

    def _find(self, file: str) -> Path | None:
        """Return the path of a row's file; None if it does not exist in any of the folders."""
        return next((path for finder in self._finders if _exists(path := finder.find(file))), None)

    def _no_file_found(self) -> str | None:
        """Return where files were looked for if none of them exists; None if one does, or the table has none."""
        first, count = None, 0
        with suppress(InvalidInputError):
            for file, _ in self._rows():
                if self._find(file) is not None:
                    return None
                first, count = first if first is not None else file, count + 1
        if first is None:
            return None
        tried = " and ".join(dict.fromkeys(text(str((folder / first).absolute())) for folder in self._folders))
        missing = "The file of its row does" if count == 1 else f"The files of all its {count:,} rows do"
        return f"{missing} not exist. Tried {tried}. Give the folder in which the files lie as another argument."

    def _entry(self, frame: Frame) -> Entry:
        header = frame.header
        name = f"{self._name}, line {number_of(header, 'line')}"
        file, key, given = text_of(header, "file"), text_of(header, "key"), patch_of(header)
        if "problem" in header:
            return unusable(name, text_of(header, "problem"), key)
        try:
            return file_entry(self._find(file) or self._path.parent / file, f"{name}: {file}", key, given, self._limit)
        except ValueError:
            return unusable(name, "The file's name contains a NUL character.", key)


def _file_and_key(frame: Frame) -> tuple[str, str] | None:
    """Return file and key of a row; None if it has a problem."""
    header = frame.header
    return None if "problem" in header else (text_of(header, "file"), text_of(header, "key"))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    # A name that no file can have, or a folder that may not be entered.
    except (OSError, ValueError):
        return False
