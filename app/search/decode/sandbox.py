"""Decoding where a picture can do no harm: in confined processes that may use so much memory and take so long.

A picture that crashes its decoder, hangs it or exhausts its memory is refused, and the process is replaced. Where the
machine is too busy to decode a picture, the error is another one, and the picture can be sent again.
"""

import json
import logging
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from app.errors import DecodingUnavailableError, PictureRefusedError
from app.search.decode.image import Crop, DecodeLimits, check_bytes
from app.search.decode.prepare import Prepared
from app.search.decode.process import DecodeProcess, DiedError
from models.network.preprocess import Preprocess

log = logging.getLogger(__name__)

# -P: a folder that the command happens to be called in holds no code of ours.
PROGRAM = (sys.executable, "-P", "-m", "app.search.decode.worker")
# What Python and the decoders take, and what a pixel costs at most on its way through them.
_MEMORY, _MEMORY_A_PIXEL = 500_000_000, 24


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
        seconds: limit on a process's own time for one picture (`OwnTime`).
        program: what the processes run.
        wall_seconds: limit on the time that passes, however busy the machine is; None for what suits `seconds`.
    """

    def __init__(
        self,
        job: Job,
        processes: int,
        seconds: float,
        program: Sequence[str] = PROGRAM,
        wall_seconds: float | None = None,
    ) -> None:
        self._job, self._processes, self._program = job, processes, program
        self._seconds, self._wall_seconds = seconds, wall_seconds
        self._idle: queue.LifoQueue[DecodeProcess] = queue.LifoQueue()
        self._all = set[DecodeProcess]()
        self._changing = threading.Lock()
        self._warned = self._interrupted = False
        for _ in range(processes):
            self._idle.put(self._start())

    def __call__(self, data: bytes, *, thumbnail: bool = False, crop: Crop | None = None) -> Prepared:
        """Decodes a picture, or a crop of it.

        Raises:
            PictureRefusedError: the bytes are no picture that can be used.
            DecodingUnavailableError: no process can be started, or the machine is too busy.
        """
        check_bytes(len(data), self._job.limits)
        process = self._idle.get()
        try:
            try:
                return self._ask(process, data, thumbnail, crop)
            except DiedError:
                # Perhaps it was dead before, as where memory ran short. A fresh one tells whether it was the picture.
                process = self._instead_of(process)
                return self._ask(process, data, thumbnail, crop)
        except BaseException as error:
            if self._interrupted:
                raise _stopping() from error
            # After a refusal the process waits for the next picture; after anything else nobody knows what it does.
            if type(error) is not PictureRefusedError:
                process = self._instead_of(process)
            raise
        finally:
            self._idle.put(process)

    def interrupt(self) -> None:
        """Ends the processes at once: what is being decoded, and what comes later, fails as not decodable now."""
        with self._changing:
            self._interrupted = True
            for process in self._all:
                process.kill()

    def close(self) -> None:
        """Waits for what is under way, then ends the processes."""
        for _ in range(self._processes):
            self._idle.get().end()

    def _ask(self, process: DecodeProcess, data: bytes, thumbnail: bool, crop: Crop | None) -> Prepared:
        confinement = process.wait_until_ready()
        if not confinement.complete and not self._warned:
            self._warned = True
            log.warning("%s", confinement.sentence)
        return process.ask(data, thumbnail, crop, self._seconds, self._wall_seconds)

    def _start(self) -> DecodeProcess:
        with self._changing:
            if self._interrupted:
                raise _stopping()
            process = DecodeProcess(self._program, self._job.to_json(), self._job.preprocess.size)
            self._all.add(process)
            return process

    def _instead_of(self, process: DecodeProcess) -> DecodeProcess:
        process.end()
        with self._changing:
            self._all.discard(process)
        return self._start()


def _stopping() -> DecodingUnavailableError:
    return DecodingUnavailableError("The service is stopping. Try again when it runs.")
