"""Pool of confined decode processes with limits on memory and time.

An image that crashes its decoder, hangs it or exhausts its memory is rejected, and the process is replaced. If the
machine is too busy to decode an image, a different error is raised, and the caller may retry.
"""

import json
import logging
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from app.errors import DecodingUnavailableError, ImageRejectedError
from app.search.decode.image import Crop, DecodeLimits, check_bytes
from app.search.decode.prepare import PreparedImage
from app.search.decode.process import DecodeProcess, DecoderExitedError
from models.network.preprocess import Preprocess

log = logging.getLogger(__name__)

# -P: do not import modules from the working directory.
PROGRAM = (sys.executable, "-P", "-m", "app.search.decode.worker")
# Bytes for Python and the decoders, and most bytes per pixel while decoding.
_BASE_MEMORY, _MEMORY_PER_PIXEL = 500_000_000, 24


@dataclass(frozen=True)
class DecodeConfig:
    """Configuration of the decode processes."""

    preprocess: Preprocess
    limits: DecodeLimits

    @property
    def memory(self) -> int:
        """Address space limit of a process in bytes."""
        return _BASE_MEMORY + _MEMORY_PER_PIXEL * self.limits.max_pixels

    def to_json(self) -> str:
        """Serialise for the command line of a process."""
        return json.dumps({**asdict(self), "memory": self.memory})


class Sandbox:
    """Pool of processes that prepare images, one image per process at a time. Thread-safe.

    Args:
        job: configuration of the processes.
        processes: number of processes.
        seconds: limit on process time for one image (`ProcessTime`).
        program: command line of a process, without its arguments.
        wall_seconds: limit on wall time for one image; None for a default derived from `seconds`.
    """

    def __init__(
        self,
        job: DecodeConfig,
        processes: int,
        seconds: float,
        program: Sequence[str] = PROGRAM,
        wall_seconds: float | None = None,
    ) -> None:
        self._job, self._processes, self._program = job, processes, program
        self._seconds, self._wall_seconds = seconds, wall_seconds
        self._idle: queue.LifoQueue[DecodeProcess] = queue.LifoQueue()
        self._all = set[DecodeProcess]()
        self._lock = threading.Lock()
        self._warned = self._interrupted = False
        for _ in range(processes):
            self._idle.put(self._start())

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> PreparedImage:
        """Decode an image, or a crop of it.

        Raises:
            ImageRejectedError: the bytes are not a usable image.
            DecodingUnavailableError: no process can be started, or the machine is too busy.
        """
        check_bytes(len(data), self._job.limits)
        process = self._idle.get()
        try:
            try:
                return self._prepare(process, data, thumbnail, crop)
            except DecoderExitedError:
                # It may have died before, for example for lack of memory. Retry to see whether the image is at fault.
                process = self._replace(process)
                return self._prepare(process, data, thumbnail, crop)
        except BaseException as error:
            if self._interrupted:
                raise _stopping_error() from error
            # After an ordinary rejection the process is ready for the next image; otherwise its state is unknown.
            if type(error) is not ImageRejectedError:
                process = self._replace(process)
            raise
        finally:
            self._idle.put(process)

    def interrupt(self) -> None:
        """Kill all processes: current and later calls raise `DecodingUnavailableError`."""
        with self._lock:
            self._interrupted = True
            for process in self._all:
                process.kill()

    def close(self) -> None:
        """Wait for calls in progress, then end the processes."""
        for _ in range(self._processes):
            self._idle.get().end()

    def _prepare(self, process: DecodeProcess, data: bytes, thumbnail: bool, crop: Crop | None) -> PreparedImage:
        confinement = process.wait_until_ready()
        if not confinement.complete and not self._warned:
            self._warned = True
            log.warning("%s", confinement.summary)
        return process.prepare(data, thumbnail, crop, self._seconds, self._wall_seconds)

    def _start(self) -> DecodeProcess:
        with self._lock:
            if self._interrupted:
                raise _stopping_error()
            process = DecodeProcess(self._program, self._job.to_json(), self._job.preprocess.shape)
            self._all.add(process)
            return process

    def _replace(self, process: DecodeProcess) -> DecodeProcess:
        process.end()
        with self._lock:
            self._all.discard(process)
        return self._start()


def _stopping_error() -> DecodingUnavailableError:
    return DecodingUnavailableError("The service is stopping. Try again after it restarts.")
