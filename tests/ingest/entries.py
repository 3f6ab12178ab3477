"""Read the entries of a source, in tests."""

import io

from app.ingest.sources.archives.archive import Archive
from app.ingest.sources.archives.members import ArchiveLimits
from app.ingest.sources.items import Entry, UnusableError

LIMITS = ArchiveLimits(1000, members=50, bytes=100_000)


def read(entry: Entry) -> bytes | str:
    """The bytes of an entry, or the reason of its rejection."""
    try:
        return entry.read()
    except UnusableError as error:
        return str(error)


def archive(data: bytes) -> Archive:
    return Archive(io.BytesIO(data), LIMITS, "archive")


def found(source: Archive) -> dict[str, bytes | str]:
    """The bytes of each entry, or the reason of its rejection, by key."""
    entries = list(source.entries())
    assert len(entries) == source.count()
    assert len({entry.key for entry in entries}) == len(entries)
    return {entry.key: read(entry) for entry in entries}
