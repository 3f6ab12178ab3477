"""Decode process, seen from its parent: start it, send requests, enforce limits, end it.

Its responses are not trusted: they are bytes in a fixed format, validated, never pickled objects.

Images and pixels are passed in shared memory (`shared_memory.py`), and short messages through a socket. Without shared
memory, and for large images, everything goes through the socket.
"""

import json
import logging
import math
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import astuple
from functools import cache, partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from app.errors import DecodingUnavailableError, ImageRejectedError
from app.search.decode.confinement import Confinement
from app.search.decode.cpu_time import ProcessTime
from app.search.decode.formats import MEDIA_TYPES
from app.search.decode.image import Crop, ImageWarning
from app.search.decode.prepare import PreparedImage
from app.search.decode.shared_memory import MIN_BYTES, shared_memory

log = logging.getLogger(__name__)

T = TypeVar("T")

READY = b"ready"
# Sent by a process when it is ready: READY, and the fields of its `Confinement`.
GREETING = struct.Struct(">5sB?")
# Request: whether to make a thumbnail; whether the image is in shared memory; whether to crop; the crop; the length of
# the image. Reply: length of the header. Pixels are in shared memory if there is any.
REQUEST, REPLY = struct.Struct(">3?4IQ"), struct.Struct(">I")
_START_S, _EXIT_S = 60.0, 1.0
# Interval at which the limits of a process that has not replied are checked.
_POLL_S = 0.1
# Default limit on wall time: this multiple of the limit on process time, at least a minute.
_WALL_FACTOR, _MIN_WALL_S = 6.0, 60.0
_MAX_HEADER, _MAX_THUMBNAIL = 4096, 1_000_000
# Bytes that are read from the socket at a time.
_PART = 65_536
# One thread, and memory of a large image is returned to the system at once: by default glibc raises its thresholds
# after a few large images and keeps hundreds of megabytes for good.
_LOW_MEMORY_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": "8000000",
    "MALLOC_TRIM_THRESHOLD_": "32000000",
}


class DecoderFailedError(ImageRejectedError):
    """The image made its decode process fail; the process must be replaced."""

    def __init__(
        self,
        reason: str = "The image is damaged: its decoder failed. Send another file.",
        code: str = "image_damaged",
    ) -> None:
        super().__init__(code, reason)


class DecoderExitedError(DecoderFailedError):
    """The decode process ended before it replied."""


class DecodeProcess:
    """A decode process, the socket to it, and the memory shared with it.

    Args:
        program: command line to run.
        config: first argument of the command, as `Job.to_json` returns it.
        shape: shape of the network's input: height, width and channels.

    Raises:
        DecodingUnavailableError: the process cannot be started, for example because of a limit on processes.
    """

    def __init__(self, program: Sequence[str], config: str, shape: tuple[int, int, int]) -> None:
        self._program, self._shape = program, shape
        self._confinement: Confinement | None = None
        self._received = bytearray()
        self._memory: mmap.mmap | None = None
        self._socket, theirs = socket.socketpair()
        self._socket.settimeout(_POLL_S)
        # Only the import path: no passwords, no settings.
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **_LOW_MEMORY_ENVIRONMENT}
        try:
            with theirs, ExitStack() as stack:
                descriptors = [theirs.fileno(), *self._share_memory(stack)]
                self._process = subprocess.Popen(  # noqa: S603 - a list without a shell, and nothing in it comes from a request
                    [*program, config, *map(str, descriptors)],
                    pass_fds=descriptors,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        except OSError as error:
            self._close()
            raise DecodingUnavailableError(f"A decode process cannot be started: {error}. Try again later.") from error

    def wait_until_ready(self) -> Confinement:
        """Wait until the process has started; return its confinement.

        Raises:
            DecodingUnavailableError: the process does not start.
        """
        if self._confinement is None:
            self._confinement = self._read_greeting()
        return self._confinement

    def prepare(
        self, data: bytes, thumbnail: bool, crop: Crop | None, seconds: float, wall_seconds: float | None
    ) -> PreparedImage:
        """Prepare one image. The process must be ready.

        Args:
            data: the image file.
            thumbnail: whether to make a thumbnail.
            crop: crop rectangle; None for the whole image.
            seconds: limit on process time (`ProcessTime`).
            wall_seconds: limit on wall time; None for a default derived from `seconds`.

        Raises:
            ImageRejectedError: the image cannot be used; on `DecoderFailedError`, nor can the process.
            DecodingUnavailableError: the process got too little CPU time.
        """
        limit = _Limit(self._process.pid, seconds, wall_seconds or max(_WALL_FACTOR * seconds, _MIN_WALL_S))
        shared = self._memory is not None and len(data) <= len(self._memory)
        head = REQUEST.pack(thumbnail, shared, crop is not None, *(astuple(crop) if crop else (0, 0, 0, 0)), len(data))
        try:
            if shared and self._memory is not None:
                self._memory[: len(data)] = data
            self._write(head, limit.require)
            if not shared:
                self._write(data, limit.require)
            return self._read_reply(limit.require)
        except (OSError, EOFError) as error:
            raise self._exit_error() from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DecoderFailedError from error

    def kill(self) -> None:
        """Kill the process; the thread waiting for its reply gets an error."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process, reap it, close the socket and free the memory."""
        self.kill()
        if self._process.wait() == -signal.SIGSYS:
            log.warning("A decode process attempted a forbidden system call and was ended by the kernel.")
        self._close()

    def _share_memory(self, stack: ExitStack) -> list[int]:
        """Allocate shared memory; return its descriptor, none if there is none to have."""
        try:
            size = max(MIN_BYTES, math.prod(self._shape))
            self._memory, descriptor = stack.enter_context(shared_memory(size))
        except OSError as error:
            _warn_of_socket(str(error))
            return []
        return [descriptor]

    def _close(self) -> None:
        self._socket.close()
        if self._memory is not None:
            self._memory.close()

    def _exit_error(self) -> DecoderExitedError:
        """Error for the image, from the process's exit status."""
        with suppress(subprocess.TimeoutExpired):
            if self._process.wait(_EXIT_S) == -signal.SIGKILL:
                return DecoderExitedError(
                    "Decoding the image took more memory than this machine has free, so the system ended the decoder. "
                    "Send a smaller image, or try again later.",
                    "image_decode_out_of_memory",
                )
        return DecoderExitedError()

    def _read_greeting(self) -> Confinement:
        deadline = time.monotonic() + _START_S

        def require() -> None:
            if time.monotonic() > deadline:
                raise TimeoutError

        try:
            ready, *confinement = GREETING.unpack(self._read(GREETING.size, require))
            if ready == READY:
                return Confinement(*confinement)
        except (OSError, EOFError):
            pass
        raise DecodingUnavailableError(f"The decode process does not start: {' '.join(self._program)}")

    def _read_reply(self, require: Callable[[], None]) -> PreparedImage:
        (length,) = REPLY.unpack(self._read(REPLY.size, require))
        header = json.loads(self._read(_bounded(length, _MAX_HEADER), require))
        if "code" in header:
            raise ImageRejectedError(str(header["code"]), str(header["reason"]))
        pixels = self._read_pixels(require)
        thumbnail = self._read(_bounded(header["thumbnail"], _MAX_THUMBNAIL), require)
        if header["media_type"] not in MEDIA_TYPES:
            raise ValueError("unknown media type")
        width, height = _bounded(header["width"], 2**31), _bounded(header["height"], 2**31)
        if self._received:
            raise ValueError("more than a reply")
        warnings = tuple(ImageWarning(code) for code in header["warnings"][: len(ImageWarning)])
        return PreparedImage(pixels, thumbnail, width, height, header["media_type"], warnings)

    def _read_pixels(self, require: Callable[[], None]) -> NDArray[np.uint8]:
        """Return the network's input, in memory that the process cannot change."""
        size = math.prod(self._shape)
        pixels = self._read(size, require) if self._memory is None else self._memory[:size]
        return np.frombuffer(pixels, np.uint8).reshape(self._shape)

    def _write(self, data: bytes, require: Callable[[], None]) -> None:
        view = memoryview(data)
        while view:
            view = view[_poll(partial(self._socket.send, view), require) :]

    def _read(self, count: int, require: Callable[[], None]) -> bytes:
        while len(self._received) < count:
            part = _poll(partial(self._socket.recv, _PART), require)
            if not part:
                raise EOFError
            self._received += part
        data = bytes(self._received[:count])
        del self._received[:count]
        return data


@cache
def _warn_of_socket(reason: str) -> None:
    """Log once why images go through a socket."""
    log.warning("No memory can be shared with decode processes: %s. Images are sent through sockets.", reason)


def _poll(call: Callable[[], T], require: Callable[[], None]) -> T:
    """Send or receive; `require` is called at each interval, and raises when a limit is reached."""
    while True:
        try:
            return call()
        except TimeoutError:
            require()


class _Limit:
    """Limits for one image: on process time, which depends on the image, and on wall time, which depends on load."""

    def __init__(self, process: int, seconds: float, wall_seconds: float) -> None:
        self._process, self._seconds = process, seconds
        self._time: ProcessTime | None = None
        self._wall_seconds, self._deadline = wall_seconds, time.monotonic() + wall_seconds

    def require(self) -> None:
        """Raise if a limit is reached.

        Process time counts from the first call, `_POLL_S` after the start: most images take less, and need not wait for
        `/proc` to be read.
        """
        if self._time is None:
            self._time = ProcessTime(self._process, 2 * _POLL_S)
        used = self._time.seconds()
        if used > self._seconds:
            reason = f"The image takes more than {self._seconds:g} s of CPU time to decode. Send a smaller image."
            raise DecoderFailedError(reason, "image_decode_timeout")
        if time.monotonic() > self._deadline:
            raise DecodingUnavailableError(
                f"The machine is too busy: in {self._wall_seconds:g} s the decoder got {used:.1f} s of CPU time. "
                "Try again later."
            )


def _bounded(number: Any, limit: int) -> int:
    if not isinstance(number, int) or not 0 <= number <= limit:
        raise ValueError(f"{number} is not an integer between 0 and {limit}")
    return number
