"""One decode process, as its parent handles it: start, ask, limit, end.

What it answers is not trusted: bytes of a known form, checked, never objects.
"""

import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from PIL import Image

from app.errors import DecodingUnavailableError, PictureRefusedError
from app.search.decode.confinement import Confinement
from app.search.decode.cpu_time import OwnTime
from app.search.decode.image import MEDIA_TYPES, Crop
from app.search.decode.prepare import Prepared

log = logging.getLogger(__name__)

READY = b"ready"
# What a process says when it is ready: that, and what confines it (`Confinement`).
GREETING = struct.Struct(">5sB?")
# Whether a thumbnail is wanted; whether a crop is, and which; the length of the picture.
REQUEST, REPLY = struct.Struct(">2?4IQ"), struct.Struct(">I")
_START_S, _EXIT_S = 60.0, 1.0
# How often a process that has not answered yet is looked at.
_LOOK_S = 0.1
# Without a limit on the time that passes, it is so many times the limit on a process's own, and at least a minute.
_WALL_FACTOR, _LEAST_WALL_S = 6.0, 60.0
_LARGEST_HEADER, _LARGEST_THUMBNAIL = 4096, 1_000_000
# One thread, and what a large picture took goes back to the system at once: left to itself, glibc begins to keep it
# once it has seen a few, hundreds of megabytes for good.
_FRUGAL = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    "MALLOC_TRIM_THRESHOLD_": "32000000",
}


class LostError(PictureRefusedError):
    """A process did not survive a picture."""

    def __init__(
        self, reason: str = "The picture is damaged: it made its decoder fail.", code: str = "image_damaged"
    ) -> None:
        super().__init__(code, reason)


class DiedError(LostError):
    """The process ended."""


class DecodeProcess:
    """One process, and the socket to it.

    Args:
        program: what it runs.
        job: what it is to do, as its first argument.
        side: of what the network reads, in pixels.

    Raises:
        DecodingUnavailableError: no process can be started, as where there are too many.
    """

    def __init__(self, program: Sequence[str], job: str, side: int) -> None:
        self._program, self._side = program, side
        self._confinement: Confinement | None = None
        self._socket, theirs = socket.socketpair()
        # Nothing of ours but the way to our code: no passwords, no settings.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_FRUGAL}
        try:
            with theirs:
                self._process = subprocess.Popen(  # noqa: S603 - a list without a shell, and nothing in it comes from a request
                    [*program, job, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        except OSError as error:
            self._socket.close()
            raise DecodingUnavailableError(f"A process for decoding pictures cannot be started: {error}.") from error

    def wait_until_ready(self) -> Confinement:
        """Waits until the process has started; returns what confines it.

        Raises:
            DecodingUnavailableError: it does not start.
        """
        if self._confinement is None:
            self._confinement = self._greeting()
        return self._confinement

    def ask(
        self, data: bytes, thumbnail: bool, crop: Crop | None, seconds: float, wall_seconds: float | None
    ) -> Prepared:
        """Has one picture prepared, once the process is ready.

        Args:
            data: the picture.
            thumbnail: whether a thumbnail is wanted.
            crop: the part that is wanted.
            seconds: limit on the process's own time (`OwnTime`).
            wall_seconds: limit on the time that passes, however busy the machine is; None for what suits `seconds`.

        Raises:
            PictureRefusedError: the picture cannot be used. A `LostError` where the process cannot be either, from
                then on.
            DecodingUnavailableError: the machine left the process too little time.
        """
        limit = _Limit(self._process.pid, seconds, wall_seconds or max(_WALL_FACTOR * seconds, _LEAST_WALL_S))
        head = REQUEST.pack(thumbnail, crop is not None, *(astuple(crop) if crop else (0, 0, 0, 0)), len(data))
        try:
            self._write(head, limit.require)
            self._write(data, limit.require)
            return self._prepared(limit.require)
        except (OSError, EOFError) as error:
            raise self._death() from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise LostError from error

    def kill(self) -> None:
        """Ends the process, whatever it is doing; the thread that waits for its answer gets an error."""
        self._process.kill()

    def end(self) -> None:
        """Ends the process and forgets it."""
        self.kill()
        if self._process.wait() == -signal.SIGSYS:
            log.warning("A picture made its decoder attempt a forbidden system call, and the kernel ended the process.")
        self._socket.close()

    def _death(self) -> DiedError:
        """Returns what the way in which the process ended says of the picture."""
        with suppress(subprocess.TimeoutExpired):
            if self._process.wait(_EXIT_S) == -signal.SIGKILL:
                return DiedError(
                    "Decoding the picture took more memory than this machine has free, so the system ended its "
                    "decoder. Send a smaller picture, or send it again when there is more memory.",
                    "image_decode_out_of_memory",
                )
        return DiedError()

    def _greeting(self) -> Confinement:
        until = time.monotonic() + _START_S

        def require() -> None:
            if time.monotonic() > until:
                raise TimeoutError

        try:
            ready, *confinement = GREETING.unpack(self._read(GREETING.size, require))
            if ready == READY:
                return Confinement(*confinement)
        except (OSError, EOFError):
            pass
        raise DecodingUnavailableError(f"A process for decoding pictures does not start: {' '.join(self._program)}")

    def _prepared(self, require: Callable[[], None]) -> Prepared:
        (length,) = REPLY.unpack(self._read(REPLY.size, require))
        header = json.loads(self._read(_at_most(length, _LARGEST_HEADER), require))
        if "code" in header:
            raise PictureRefusedError(str(header["code"]), str(header["reason"]))
        pixels = self._read(3 * self._side * self._side, require)
        thumbnail = self._read(_at_most(header["thumbnail"], _LARGEST_THUMBNAIL), require)
        if header["media_type"] not in MEDIA_TYPES:
            raise ValueError("not a type of picture")
        width, height = _at_most(header["width"], 2**31), _at_most(header["height"], 2**31)
        image = Image.frombytes("RGB", (self._side, self._side), pixels)
        return Prepared(image, thumbnail, width, height, header["media_type"])

    def _write(self, data: bytes, require: Callable[[], None]) -> None:
        view = memoryview(data)
        while view:
            view = view[self._try(self._socket.send, view, require) :]

    def _read(self, count: int, require: Callable[[], None]) -> bytes:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self._try(self._socket.recv_into, view, require)
            if not got:
                raise EOFError
            view = view[got:]
        return bytes(data)

    def _try(self, call: Callable[[memoryview], int], view: memoryview, require: Callable[[], None]) -> int:
        """Sends from a view or receives into it, some of it; `require` raises where that takes too long."""
        self._socket.settimeout(_LOOK_S)
        while True:
            try:
                return call(view)
            except TimeoutError:
                require()


class _Limit:
    """Limits on one picture: on the process's own time, which is the picture's fault, and on all that passes."""

    def __init__(self, process: int, seconds: float, wall_seconds: float) -> None:
        self._own, self._seconds = OwnTime(process, 2 * _LOOK_S), seconds
        self._wall_seconds, self._until = wall_seconds, time.monotonic() + wall_seconds

    def require(self) -> None:
        """Raises where one of them is reached."""
        own = self._own.seconds()
        if own > self._seconds:
            reason = f"The picture takes more than {self._seconds:g} s of processor time to decode. Send a smaller one."
            raise LostError(reason, "image_decode_timeout")
        if time.monotonic() > self._until:
            raise DecodingUnavailableError(
                f"The machine is too busy: within {self._wall_seconds:g} s a decoder got {own:.1f} s of processor "
                "time. Try again later."
            )


def _at_most(number: Any, limit: int) -> int:
    if not isinstance(number, int) or not 0 <= number <= limit:
        raise ValueError(f"{number} is not a number up to {limit}")
    return number
