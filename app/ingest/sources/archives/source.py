"""Archive as a source of entries, read by a separate process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from app.ingest.jobs.stop import Stop
from app.ingest.sources.archives.members import ArchiveLimits
from app.ingest.sources.items import Entry, unusable
from app.ingest.sources.reader import Reader, ReaderJob
from app.ingest.sources.reader_protocol import Frame, patch_of, text_of
from models.data.left_out import LeftOut

# Memory for each name or table row of an archive, in bytes; and copies in memory of the largest file.
_BYTES_PER_ENTRY, _COPIES = 1000, 3


class ArchiveReading:
    """The entries of an open archive, to be iterated once, in the archive's order.

    Attributes:
        total: the number of entries.
        left_out: what the archive holds besides its entries.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self.left_out = reader.left_out
        self._reader, self._name, self._data, self.total = reader, name, b"", reader.total

    @property
    def damage(self) -> str | None:
        """Why the archive cannot be read to its end, or None."""
        return self._reader.failure

    @property
    def killed(self) -> bool:
        """Whether the reader process was killed from outside; a retry may read the rest."""
        return self._reader.killed

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries; if reading fails, the last one is the reason, unless the process was killed."""
        known = self.damage
        yield from self._reader.read(self._entry)
        if self.damage is not None and self.damage != known and not self.killed:
            yield unusable(f"{self._name}: rest of the archive".removeprefix(": "), self.damage)

    def _entry(self, frame: Frame) -> Entry:
        header = frame.header
        name, key, given = text_of(header, "name"), text_of(header, "key"), patch_of(header)
        if "problem" in header:
            return unusable(name, text_of(header, "problem"), key)
        if "again" not in header:
            self._data = frame.data
        data = self._data
        return Entry(name, key, given, len(data), lambda: data)


class ArchiveSource:
    """An archive file; `name` prefixes the names of its entries.

    Attributes:
        left_out: what it holds besides its entries; known once they are counted.
    """

    def __init__(self, path: Path, limits: ArchiveLimits, name: str = "") -> None:
        self._path, self._limits, self._name = path, limits, name
        self.left_out = LeftOut()

    @contextmanager
    def open(self, first: int = 0, stop: Stop | None = None) -> Iterator[ArchiveReading]:
        """Open the archive for reading.

        Args:
            first: the number of leading entries to yield without their bytes.
            stop: ends the iteration when it is requested.

        Raises:
            OSError: the file cannot be opened.
            LookalikeError: the archive cannot be read; see `Reader`.
        """
        limits = self._limits
        memory = _BYTES_PER_ENTRY * limits.members + _COPIES * max(limits.member_bytes, limits.table_bytes)
        job = ReaderJob("archive", self._name, asdict(limits), first, memory, limits.member_bytes)
        with Reader(self._path, job, stop or Stop()) as reader:
            self.left_out = reader.left_out
            yield ArchiveReading(reader, self._name)

    def count(self) -> int:
        """Number of entries."""
        with self.open() as reading:
            return reading.total

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries."""
        with self.open() as reading:
            yield from reading
            if reading.killed:
                yield unusable(f"{self._name}: rest of the archive".removeprefix(": "), reading.damage or "")
