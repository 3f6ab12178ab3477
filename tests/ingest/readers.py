"""The processes that read archives for a service or a test."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from tests.crash.watch import family

PLANTED = (sys.executable, "-m", "tests.ingest.planted_reader")
_PROGRAMS = {b"app.ingest.sources.reader_worker", PLANTED[-1].encode()}


def readers(process: int | None = None) -> list[int]:
    """The processes that read for one, or for this one."""
    return [
        one
        for one in family(process or os.getpid())
        if words(one) & {b"app.ingest.sources.reader_worker", PLANTED[-1].encode()}
    ]


def words(process: int) -> set[bytes]:
    """The words of the command that a process runs."""
    with suppress(OSError):
        return set(Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"))
    return set()
