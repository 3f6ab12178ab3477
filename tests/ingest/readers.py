"""List reader processes."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from tests.crash.process_usage import process_tree

PLANTED = (sys.executable, "-m", "tests.ingest.misbehaving_reader")
_PROGRAMS = {b"app.ingest.sources.reader_worker", PLANTED[-1].encode()}


def readers(process: int | None = None) -> list[int]:
    """Reader processes among the descendants of a process, by default this one."""
    return [one for one in process_tree(process or os.getpid()) if arguments(one) & _PROGRAMS]


def arguments(process: int) -> set[bytes]:
    """The command-line arguments of a process."""
    with suppress(OSError):
        return set(Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0"))
    return set()
