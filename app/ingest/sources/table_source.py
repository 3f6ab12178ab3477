"""Table of image files as a source; the table is read by a separate process, the images by this one."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from app.common.unicode_names import PathFinder
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
    """The image files of a table; files larger than `limit` bytes are rejected.

    Attributes:
        left_out: nothing, because a table names its files.
    """

    def __init__(self, path: Path, limit: int, rows: int = _ROWS) -> None:
        self._path, self._limit, self._name = path, limit, text(str(path))
        self._finder, self.left_out = PathFinder(path.parent), LeftOut()
        limits = TableLimits(rows)
        memory = _BYTES_PER_CHARACTER * limits.characters
        self._job = ReaderJob(SUFFIXES[path.suffix.lower()], self._name, asdict(limits), memory=memory)

    def count(self) -> int:
        """Number of rows."""
        with Reader(self._path, self._job, Stop()) as reader:
            return reader.total

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries of all rows."""
        with Reader(self._path, self._job, Stop()) as reader:
            yield from reader.read(self._entry)
            if reader.failure is not None:
                yield unusable(f"{self._name}: rest of the table", reader.failure)

    def _entry(self, frame: Frame) -> Entry:
        header = frame.header
        name = f"{self._name}, line {number_of(header, 'line')}"
        file, key, given = text_of(header, "file"), text_of(header, "key"), patch_of(header)
        if "problem" in header:
            return unusable(name, text_of(header, "problem"), key)
        try:
            return file_entry(self._finder.find(file), f"{name}: {file}", key, given, self._limit)
        except ValueError:
            return unusable(name, "The file's name contains a NUL character.", key)
