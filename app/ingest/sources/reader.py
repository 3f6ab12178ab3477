"""Read archives and tables of others in a process of its own, which can be stopped at any time.

The process has limits on memory and processor time, may write no file, and goes first where memory runs out
(`app/search/decode/confinement.py`). What it finds comes back through a socket, one entry after the other and no faster
than they are taken; every length and type is checked (`reader_protocol.py`). What is wrong with the file, or what it
made of its reader, is a sentence; entries that came before are good.
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
from app.ingest.sources.archive_members import ArchiveRefusedError
from app.ingest.sources.reader_protocol import BadFrameError, Frame, number_of, read_frame, text_of

log = logging.getLogger(__name__)

# -P: a folder that the command happens to be called in holds no code of ours.
PROGRAM = (sys.executable, "-P", "-m", "app.ingest.sources.reader_worker")
# What any file may take, and what a larger one may take beyond that. Reading and unpacking pictures is some hundred
# times faster.
_CPU_SECONDS, _BYTES_A_CPU_SECOND = 300, 2_000_000
# Python itself, with what it reserves and does not use.
_MEMORY = 300_000_000
# Sent by others: by the kernel where memory runs out, or by a supervisor that stops a service and all its processes.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# One arena and no thread pools: what else glibc and NumPy reserve counts against the limit.
_FRUGAL = {"MALLOC_ARENA_MAX": "1", "OPENBLAS_NUM_THREADS": "1"}

Read = TypeVar("Read")


class ReaderFailedError(LookalikeError):
    """A file made its reader fail, or takes more than a reader may take; its text says which."""


class ReaderKilledError(LookalikeError):
    """A reader was killed from outside, which may not happen again."""


@dataclass(frozen=True)
class ReaderJob:
    """What a process reads.

    Attributes:
        kind: `archive`, or what kind of table it is.
        name: what its owner knows it by.
        limits: of an archive (`ArchiveLimits`) or a table (`TableLimits`).
        first: the number of entries whose bytes are not wanted.
        memory: bytes that reading may take, beside what Python takes.
        most_bytes: the largest file in an archive.
    """

    kind: str
    name: str
    limits: Mapping[str, int]
    first: int = 0
    memory: int = 0
    most_bytes: int = 0


class Reader:
    """A process that reads one file, for the length of the block.

    Args:
        path: the file.
        job: what is read of it.
        stop: ends the process when it is requested; what iterates then gets no more.

    Attributes:
        total: how many entries it holds.
        failure: why reading ended before the end, if it did.
        killed: whether it ended because the process was killed from outside.

    Raises:
        OSError: the file cannot be opened.
        UnavailableError: no process can be started.
        ArchiveRefusedError, InvalidInputError: the file is not read; the text says why.
        ReaderFailedError, ReaderKilledError: it could not even be counted.
        StoppedError: a stop was requested before that.
    """

    def __init__(self, path: Path, job: ReaderJob, stop: Stop) -> None:
        self._job, self._stop, self._exits = job, stop, ExitStack()
        self.failure: str | None = None
        self.killed = False
        with path.open("rb") as file:
            self._cpu_seconds = _CPU_SECONDS + os.fstat(file.fileno()).st_size // _BYTES_A_CPU_SECOND
            self._process, self._socket = self._start(file)
        self._stream = cast("BinaryIO", self._socket.makefile("rb"))

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            exits.callback(self._close)
            exits.enter_context(self._stop.ending(self._process.kill))
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
            self.total = number_of(header, "total")
            self.failure = damage if isinstance(damage, str) else None
        except BadFrameError as error:
            raise self._failed("made its reader fail") from error

    def _close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._stream.close()
        self._socket.close()

    def read(self, parse: Callable[[Frame], Read]) -> Iterator[Read]:
        """Yield what the process finds, parsed; `parse` raises BadFrameError for what cannot be."""
        try:
            while (frame := self._next()).header["is"] != "end":
                yield parse(frame)
        except BadFrameError:
            self.failure = str(self._failed("made its reader fail"))
        except StoppedError:
            return
        except LookalikeError as error:
            self.failure, self.killed = str(error), isinstance(error, ReaderKilledError)

    def _start(self, file: BinaryIO) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        job = {**vars(self._job), "memory": _MEMORY + self._job.memory, "cpu_seconds": self._cpu_seconds}
        # Nothing of ours but the way to our code: no passwords, no settings.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_FRUGAL}
        descriptors = theirs.fileno(), file.fileno()
        with theirs:
            try:
                process = subprocess.Popen(  # noqa: S603 - a list without a shell, and the file's name is data
                    [*PROGRAM, json.dumps(job), *map(str, descriptors)],
                    pass_fds=descriptors,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            except OSError as error:
                ours.close()
                raise UnavailableError(f"No process can be started to read an archive: {error.strerror}.") from error
        return process, ours

    def _require_ready(self) -> None:
        try:
            if read_frame(self._stream, 0).header.get("is") == "ready":
                return
        except (OSError, EOFError):
            pass
        if self._stop.requested:
            raise StoppedError
        raise UnavailableError(f"A process to read archives does not start: {' '.join(PROGRAM)}")

    def _next(self) -> Frame:
        try:
            frame = read_frame(self._stream, self._job.most_bytes)
        except (OSError, EOFError) as error:
            if self._stop.requested:
                raise StoppedError from error
            raise self._cause_of_death() from error
        kind = text_of(frame.header, "is")
        if kind in _LAST_WORDS:
            raise _LAST_WORDS[kind](self, frame.header)
        return frame

    def _cause_of_death(self) -> LookalikeError:
        ended_by = -self._process.wait()
        if ended_by == signal.SIGXCPU:
            return self._failed(f"takes more than {self._cpu_seconds:,} s of processor time to read. Split it")
        if ended_by in _FROM_OUTSIDE:
            return ReaderKilledError(
                f"The process that reads the {self._what} was killed, perhaps because memory ran out."
            )
        log.error("the reader of %s ended with %d", self._job.name or "an archive", -ended_by)
        return self._failed("made its reader fail")

    def _failed(self, how: str) -> ReaderFailedError:
        return ReaderFailedError(f"The {self._what} {how}.")

    def _refused(self, header: Mapping[str, Any]) -> LookalikeError:
        return ArchiveRefusedError(text_of(header, "reason"))

    def _invalid(self, header: Mapping[str, Any]) -> LookalikeError:
        return InvalidInputError(text_of(header, "field"), text_of(header, "reason"))

    def _out_of_memory(self, _: Mapping[str, Any]) -> LookalikeError:
        megabytes = (_MEMORY + self._job.memory) // 1_000_000
        return self._failed(f"takes more than {megabytes:,} MB of memory to read. Split it")

    def _broken(self, header: Mapping[str, Any]) -> LookalikeError:
        log.error("the reader of %s failed: %s", self._job.name or "an archive", text_of(header, "reason"))
        return self._failed("made its reader fail")

    @property
    def _what(self) -> str:
        return "archive" if self._job.kind == "archive" else "table"


_LAST_WORDS: Mapping[str, Callable[[Reader, Mapping[str, Any]], LookalikeError]] = {
    "refused": Reader._refused,
    "invalid": Reader._invalid,
    "memory": Reader._out_of_memory,
    "broken": Reader._broken,
}
