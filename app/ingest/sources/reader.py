"""Read untrusted archives and tables in a confined process, which can be stopped at any time.

The process has limits on memory and processor time, cannot write files, and is the OOM killer's first choice
(`app/search/decode/confinement.py`). It sends entries through a socket, one by one and on demand; every length and type
is checked (`reader_protocol.py`). A damaged file or a crashed reader ends the entries with an error message; earlier
entries are valid.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, cast

from app.errors import InvalidInputError, LookalikeError, UnavailableError
from app.ingest.jobs.stop import Stop, StoppedError
from app.ingest.sources.archives.members import ArchiveRefusedError
from app.ingest.sources.reader_protocol import BadFrameError, Frame, left_out_of, number_of, read_frame, text_of

log = logging.getLogger(__name__)

# -P: do not import modules from the current folder.
PROGRAM = (sys.executable, "-P", "-m", "app.ingest.sources.reader_worker")
# Seconds of processor time for any file, and bytes per additional second: a hundredth of the usual speed.
_CPU_SECONDS, _BYTES_PER_CPU_SECOND = 300, 2_000_000
# Address space of Python itself, in bytes.
_MEMORY = 300_000_000
# Sent by the kernel when memory runs out, or by a supervisor that stops all processes of the service.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# One arena and no thread pools: memory reserved by glibc and NumPy counts towards the limit.
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}

Parsed = TypeVar("Parsed")


class ReaderFailedError(LookalikeError):
    """A file crashed its reader process, or exceeded its memory or processor time."""


class ReaderKilledError(LookalikeError):
    """A reader process was killed from outside; a retry may succeed."""


@dataclass(frozen=True)
class ReaderJob:
    """Parameters of a reader process.

    Attributes:
        kind: `archive`, or the kind of table: `csv` or `json`.
        name: the file's name in messages.
        limits: fields of `ArchiveLimits` or `TableLimits`.
        first: the number of leading entries to send without their bytes.
        memory: the memory limit in bytes, in addition to Python itself.
        max_bytes: the maximum size of a file in an archive.
    """

    kind: str
    name: str
    limits: Mapping[str, int]
    first: int = 0
    memory: int = 0
    max_bytes: int = 0


class Reader:
    """A process that reads one file; a context manager.

    Args:
        path: the file.
        job: its parameters.
        stop: kills the process and ends the iteration when it is requested.

    Attributes:
        total: the number of entries.
        left_out: what an archive holds besides its entries.
        failure: why the file could not be read to its end, or None.
        killed: whether the process was killed from outside.

    Raises:
        OSError: the file cannot be opened.
        UnavailableError: the process cannot be started.
        ArchiveRefusedError, InvalidInputError: the file is rejected.
        ReaderFailedError, ReaderKilledError: the process ended before the entries were counted.
        StoppedError: a stop was requested before that.
    """

    def __init__(self, path: Path, job: ReaderJob, stop: Stop) -> None:
        self._job, self._stop, self._exits = job, stop, ExitStack()
        self.failure: str | None = None
        self.killed = False
        with path.open("rb") as file:
            self._cpu_seconds = _CPU_SECONDS + os.fstat(file.fileno()).st_size // _BYTES_PER_CPU_SECOND
            self._process, self._socket = self._start(file)
        self._stream = cast("BinaryIO", self._socket.makefile("rb"))

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            exits.callback(self._close)
            exits.enter_context(self._stop.on_request(self._process.kill))
            self._count()
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def _count(self) -> None:
        try:
            self._require_ready()
            header = self._next().header
            damage = header.get("damage")
            self.total, self.left_out = number_of(header, "total"), left_out_of(header)
            self.failure = damage if isinstance(damage, str) else None
        except BadFrameError as error:
            raise self._crashed() from error

    def _close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._stream.close()
        self._socket.close()

    def read(self, parse: Callable[[Frame], Parsed]) -> Iterator[Parsed]:
        """Yield parsed frames until the end; `parse` raises BadFrameError for invalid ones."""
        try:
            while (frame := self._next()).header["is"] != "end":
                yield parse(frame)
        except BadFrameError:
            self.failure = str(self._crashed())
        except StoppedError:
            return
        except LookalikeError as error:
            self.failure, self.killed = str(error), isinstance(error, ReaderKilledError)

    def _start(self, file: BinaryIO) -> tuple[subprocess.Popen[bytes], socket.socket]:
        local, remote = socket.socketpair()
        job = {**vars(self._job), "memory": _MEMORY + self._job.memory, "cpu_seconds": self._cpu_seconds}
        # Only the import path: no passwords, no settings.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_ENVIRONMENT}
        descriptors = remote.fileno(), file.fileno()
        with remote:
            try:
                process = subprocess.Popen(  # noqa: S603 - no shell; values from a request are inside the JSON argument
                    [*PROGRAM, json.dumps(job), *map(str, descriptors)],
                    pass_fds=descriptors,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError as error:
                local.close()
                raise UnavailableError(f"Cannot start a process to read the {self._what}: {error.strerror}.") from error
        return process, local

    def _require_ready(self) -> None:
        try:
            if read_frame(self._stream, 0).header.get("is") == "ready":
                return
        except (OSError, EOFError):
            pass
        if self._stop.requested:
            raise StoppedError
        raise UnavailableError(f"The reader process does not start: {' '.join(PROGRAM)}")

    def _next(self) -> Frame:
        try:
            frame = read_frame(self._stream, self._job.max_bytes)
        except (OSError, EOFError) as error:
            if self._stop.requested:
                raise StoppedError from error
            raise self._exit_error() from error
        kind = text_of(frame.header, "is")
        if kind in _FINAL_FRAMES:
            raise _FINAL_FRAMES[kind](self, frame.header)
        return frame

    def _exit_error(self) -> LookalikeError:
        ended_by = -self._process.wait()
        if ended_by == signal.SIGXCPU:
            return self._exceeded(f"{self._cpu_seconds:,} s of processor time")
        if ended_by in _FROM_OUTSIDE:
            return ReaderKilledError(
                f"The process that reads the {self._what} was killed, perhaps because memory ran out."
            )
        log.error("the reader of %s exited with status %d", self._job.name or "an archive", -ended_by)
        return self._crashed()

    def _crashed(self) -> ReaderFailedError:
        return ReaderFailedError(f"The {self._what} crashed its reader process. See the log.")

    def _exceeded(self, limit: str) -> ReaderFailedError:
        return ReaderFailedError(f"The {self._what} takes more than {limit} to read. Split it.")

    def _archive_refused(self, header: Mapping[str, Any]) -> LookalikeError:
        return ArchiveRefusedError(text_of(header, "reason"))

    def _invalid_input(self, header: Mapping[str, Any]) -> LookalikeError:
        return InvalidInputError(text_of(header, "field"), text_of(header, "reason"))

    def _out_of_memory(self, _: Mapping[str, Any]) -> LookalikeError:
        megabytes = (_MEMORY + self._job.memory) // 1_000_000
        return self._exceeded(f"{megabytes:,} MB of memory")

    def _broken(self, header: Mapping[str, Any]) -> LookalikeError:
        log.error("the reader of %s failed: %s", self._job.name or "an archive", text_of(header, "reason"))
        return self._crashed()

    @property
    def _what(self) -> str:
        return "archive" if self._job.kind == "archive" else "table"


_FINAL_FRAMES: Mapping[str, Callable[[Reader, Mapping[str, Any]], LookalikeError]] = {
    "refused": Reader._archive_refused,
    "invalid": Reader._invalid_input,
    "memory": Reader._out_of_memory,
    "broken": Reader._broken,
}
