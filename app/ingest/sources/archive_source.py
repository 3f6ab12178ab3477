"""An archive as a source of pictures, read by a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from app.ingest.jobs.stop import Stop
from app.ingest.sources.archive_members import ArchiveLimits
from app.ingest.sources.items import Entry, unusable
from app.ingest.sources.reader import Reader, ReaderJob
from app.ingest.sources.reader_protocol import Frame, given_of, text_of

# What is held of a file's name, or of a row of the table, while an archive is read; and of one file's bytes, in steps.
_MEMORY_AN_ENTRY, _COPIES = 1000, 3


class ArchiveReading:
    """The entries of an archive while it is read, once and in the archive's order.

    Attributes:
        total: how many there are.
    """

    def __init__(self, reader: Reader, name: str) -> None:
        self._reader, self._name, self._data, self.total = reader, name, b"", reader.total

    @property
    def damage(self) -> str | None:
        """What keeps the archive from being read to its end, if anything does."""
        return self._reader.failure

    @property
    def killed(self) -> bool:
        """Whether the process that reads it was killed from outside; what is missing may be read by another one."""
        return self._reader.killed

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries; what keeps the rest from being read is the last one, unless the process was killed."""
        known = self.damage
        yield from self._reader.read(self._entry)
        if self.damage is not None and self.damage != known and not self.killed:
            yield unusable(f"{self._name}: all that comes after".removeprefix(": "), self.damage)

    def _entry(self, frame: Frame) -> Entry:
        header = frame.header
        name, key, given = text_of(header, "name"), text_of(header, "key"), given_of(header)
        if "problem" in header:
            return unusable(name, text_of(header, "problem"), key)
        if "again" not in header:
            self._data = frame.data
        data = self._data
        return Entry(name, key, given, len(data), lambda: data)


class ArchiveSource:
    """The pictures of an archive, whose owner may know it by a name."""

    def __init__(self, path: Path, limits: ArchiveLimits, name: str = "") -> None:
        self._path, self._limits, self._name = path, limits, name

    @contextmanager
    def reading(self, first: int = 0, stop: Stop | None = None) -> Iterator[ArchiveReading]:
        """Read the archive for the length of the block.

        Args:
            first: the number of entries that come without their bytes.
            stop: ends reading when it is requested; no more entries come then.

        Raises:
            OSError: it cannot be opened.
            LookalikeError: it is not read at all (see `Reader`).
        """
        limits = self._limits
        memory = _MEMORY_AN_ENTRY * limits.members + _COPIES * max(limits.member_bytes, limits.table_bytes)
        job = ReaderJob("archive", self._name, asdict(limits), first, memory, limits.member_bytes)
        with Reader(self._path, job, stop or Stop()) as reader:
            yield ArchiveReading(reader, self._name)

    def count(self) -> int:
        """Return how many entries there are."""
        with self.reading() as reading:
            return reading.total

    def __iter__(self) -> Iterator[Entry]:
        """Yield the entries."""
        with self.reading() as reading:
            yield from reading
            if reading.killed:
                yield unusable(f"{self._name}: all that comes after".removeprefix(": "), reading.damage or "")
