"""Decoding where a picture can do no harm: in processes that may use so much memory and take so long.

A picture that crashes its decoder, hangs it or has it eat memory costs the request that brought it, and a process
that is started anew. What comes back from such a process is not trusted: bytes of a known form, checked, never objects.
"""

import json
import logging
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

from PIL import Image

from app.errors import PictureRefusedError, UnavailableError
from app.search.confinement import Confinement
from app.search.decode import MEDIA_TYPES, Crop, DecodeLimits, check_bytes
from app.search.prepare import Prepared
from models.preprocess import Preprocess

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "app.search.sandboxed")
READY = b"ready"
# What a process says when it is ready: that, and what confines it (`Confinement`).
GREETING = struct.Struct(">5sB?")
# Whether a thumbnail is wanted; whether a crop is, and which; the length of the picture.
REQUEST, REPLY = struct.Struct(">2?4IQ"), struct.Struct(">I")
_START_S = 60.0
_LARGEST_HEADER, _LARGEST_THUMBNAIL = 4096, 1_000_000
# What Python and the decoders take, and what a pixel costs at most on its way through them.
_MEMORY, _MEMORY_A_PIXEL = 500_000_000, 24
# One thread, and what a large picture took goes back to the system at once: left to itself, glibc begins to keep it
# once it has seen a few, hundreds of megabytes for good.
_FRUGAL = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    "MALLOC_TRIM_THRESHOLD_": "32000000",
}


@dataclass(frozen=True)
class Job:
    """What the processes do with pictures."""

    preprocess: Preprocess
    limits: DecodeLimits

    @property
    def memory(self) -> int:
        """Bytes of address space that a process may have."""
        return _MEMORY + _MEMORY_A_PIXEL * self.limits.max_pixels

    def to_json(self) -> str:
        """Writes the job down for a process."""
        return json.dumps({**asdict(self), "memory": self.memory})


class Sandbox:
    """Prepares pictures in processes of its own, as many at a time as there are processes.

    Args:
        job: what is done with pictures.
        processes: how many.
        seconds: how long a picture may take.
        program: what the processes run.
    """

    def __init__(self, job: Job, processes: int, seconds: float, program: Sequence[str] = PROGRAM) -> None:
        self._job, self._processes, self._seconds, self._program = job, processes, seconds, program
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._warned = False
        for _ in range(processes):
            self._idle.put(_Process(program, job))

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decodes a picture, or a crop of it.

        Raises:
            PictureRefusedError: the bytes are no picture that can be used.
            UnavailableError: no process can be started.
        """
        check_bytes(len(data), self._job.limits)
        process = self._idle.get()
        try:
            try:
                return self._ask(process, data, thumbnail, crop)
            except _DiedError:
                # Perhaps it was dead before, as where memory ran short. A fresh one tells whether it was the picture.
                process = self._instead_of(process)
                return self._ask(process, data, thumbnail, crop)
        except BaseException as error:
            # After a refusal the process waits for the next picture; after anything else nobody knows what it does.
            if type(error) is not PictureRefusedError:
                process = self._instead_of(process)
            raise
        finally:
            self._idle.put(process)

    def close(self) -> None:
        """Waits for what is under way, then ends the processes."""
        for _ in range(self._processes):
            self._idle.get().end()

    def _ask(self, process: "_Process", data: bytes, thumbnail: bool, crop: Crop | None) -> Prepared:
        confinement = process.wait_until_ready()
        if not confinement.complete and not self._warned:
            self._warned = True
            log.warning("%s", confinement.sentence)
        return process.ask(data, thumbnail, crop, self._seconds)

    def _instead_of(self, process: "_Process") -> "_Process":
        process.end()
        return _Process(self._program, self._job)


class _LostError(PictureRefusedError):
    """A process did not survive a picture."""

    def __init__(self, reason: str = "The picture is damaged: it made its decoder fail.") -> None:
        super().__init__("damaged", reason)


class _DiedError(_LostError):
    """The process is no more."""


class _Process:
    """One process, and the socket to it."""

    def __init__(self, program: Sequence[str], job: Job) -> None:
        self._program, self._side = program, job.preprocess.size
        self._confinement: Confinement | None = None
        self._socket, theirs = socket.socketpair()
        # Nothing of ours but the way to our code: no passwords, no settings.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_FRUGAL}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - a list without a shell, and nothing in it comes from a request
                [*program, job.to_json(), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def ask(self, data: bytes, thumbnail: bool, crop: Crop | None, seconds: float) -> Prepared:
        """Has one picture prepared, once the process is ready."""
        until = time.monotonic() + seconds
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(
                REQUEST.pack(thumbnail, crop is not None, *(astuple(crop) if crop else (0, 0, 0, 0)), len(data))
            )
            self._socket.sendall(data)
            return self._prepared(until)
        except TimeoutError as error:
            raise _LostError(f"The picture takes longer than {seconds:g} s to decode.") from error
        except (OSError, EOFError) as error:
            raise _DiedError from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _LostError from error

    def end(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        if self._process.wait() == -signal.SIGSYS:
            log.warning("A picture made its decoder attempt a forbidden system call, and the kernel ended the process.")
        self._socket.close()

    def wait_until_ready(self) -> Confinement:
        """Waits until the process has started; returns what confines it.

        Raises:
            UnavailableError: it does not start.
        """
        if self._confinement is None:
            self._confinement = self._greeting()
        return self._confinement

    def _greeting(self) -> Confinement:
        try:
            ready, *confinement = GREETING.unpack(self._read(GREETING.size, time.monotonic() + _START_S))
            if ready == READY:
                return Confinement(*confinement)
        except (OSError, EOFError):
            pass
        raise UnavailableError(f"A process for decoding pictures does not start: {' '.join(self._program)}")

    def _prepared(self, until: float) -> Prepared:
        (length,) = REPLY.unpack(self._read(REPLY.size, until))
        header = json.loads(self._read(_at_most(length, _LARGEST_HEADER), until))
        if "code" in header:
            raise PictureRefusedError(str(header["code"]), str(header["reason"]))
        pixels = self._read(3 * self._side * self._side, until)
        thumbnail = self._read(_at_most(header["thumbnail"], _LARGEST_THUMBNAIL), until)
        if header["media_type"] not in MEDIA_TYPES:
            raise ValueError("not a type of picture")
        width, height = _at_most(header["width"], 2**31), _at_most(header["height"], 2**31)
        image = Image.frombytes("RGB", (self._side, self._side), pixels)
        return Prepared(image, thumbnail, width, height, header["media_type"])

    def _read(self, count: int, until: float) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            self._socket.settimeout(max(until - time.monotonic(), 1e-3))
            got = self._socket.recv_into(view)
            if not got:
                raise EOFError
            view = view[got:]
        return bytes(data)


def _at_most(number: Any, limit: int) -> int:
    if not isinstance(number, int) or not 0 <= number <= limit:
        raise ValueError(f"{number} is not a number up to {limit}")
    return number
