"""From pictures to codes and F7.

Pictures that arrive together are encoded together: whoever comes while the network is busy waits and shares the next
batch, and a lone picture never waits.
"""

import queue
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from app.errors import UnavailableError
from app.search.runtimes import Pictures, Runtime, open_runtime
from app.search.types import Encoded
from models.codes import binarise
from models.description import CheckpointInfo, find, read_info
from models.preprocess import Preprocess

BATCH = 8


class Encoder(Protocol):
    """Turns pictures into codes and F7."""

    @property
    def size(self) -> int:
        """Side of the network's input in pixels: decoding need not give much more."""
        ...

    def prepare(self, image: Image.Image) -> Image.Image:
        """Returns what the network reads of a picture; encoding that gives the same."""
        ...

    def encode_one(self, image: Image.Image) -> Future[Encoded]:
        """Begins to encode the picture of a search, before any that `encode_many` has waiting."""
        ...

    def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
        """Encodes pictures that are being added; row i is picture i."""
        ...


@dataclass(order=True)
class _Job:
    """Some prepared pictures that wait for the network; searches go before additions."""

    priority: int
    number: int
    pictures: Pictures = field(compare=False)
    result: Future[Encoded] = field(compare=False, default_factory=Future)


class BatchingEncoder:
    """Feeds one network from many threads, in batches of what is waiting."""

    _SEARCH, _ADDITION, _END = 0, 1, 2

    def __init__(self, runtime: Runtime, preprocess: Preprocess) -> None:
        self._runtime, self._preprocess = runtime, preprocess
        self._waiting: queue.PriorityQueue[_Job] = queue.PriorityQueue()
        self._numbers = count()
        self._submitting, self._closed = threading.Lock(), False
        self._worker = threading.Thread(target=self._work, name="encoder", daemon=True)
        self._worker.start()

    @property
    def size(self) -> int:
        """Side of the network's input in pixels."""
        return self._preprocess.size

    def prepare(self, image: Image.Image) -> Image.Image:
        """Returns what the network reads of a picture; encoding that gives the same."""
        return Image.fromarray(self._preprocess(image))

    def encode_one(self, image: Image.Image) -> Future[Encoded]:
        """Begins to encode the picture of a search.

        Raises:
            UnavailableError: the encoder was closed.
        """
        return self._submit(self._SEARCH, self._preprocess(image)[None])

    def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
        """Encodes pictures that are being added, at least one."""
        prepared = [self._preprocess(image) for image in images]
        chunks = [np.stack(prepared[first : first + BATCH]) for first in range(0, len(prepared), BATCH)]
        parts = [job.result() for job in [self._submit(self._ADDITION, chunk) for chunk in chunks]]
        return Encoded(
            np.concatenate([part.codes for part in parts]), np.concatenate([part.features for part in parts])
        )

    def close(self) -> None:
        """Encodes what is waiting, then stops; whoever comes later is refused."""
        with self._submitting:
            self._closed = True
            self._waiting.put(_Job(self._END, next(self._numbers), np.empty((0, 0, 0, 3), np.uint8)))
        self._worker.join()

    def _submit(self, priority: int, pictures: Pictures) -> Future[Encoded]:
        job = _Job(priority, next(self._numbers), pictures)
        # Nothing may come to wait behind the end: nobody would ever take it.
        with self._submitting:
            if self._closed:
                raise UnavailableError("The service is stopping.")
            self._waiting.put(job)
        return job.result

    def _work(self) -> None:
        while jobs := self._next_batch():
            try:
                activations, features = self._runtime(np.concatenate([job.pictures for job in jobs]))
                _hand_out(jobs, Encoded(binarise(activations), features))
            except Exception as error:  # whoever waits must hear of it, whatever it is
                for job in jobs:
                    job.result.set_exception(error)

    def _next_batch(self) -> list[_Job]:
        """Waits for a job, and takes with it what else is waiting, up to a batch; nothing at the end."""
        jobs = [self._waiting.get()]
        total = len(jobs[0].pictures)
        while jobs[-1].priority != self._END and total < BATCH:
            try:
                job = self._waiting.get_nowait()
            except queue.Empty:
                break
            if job.priority == self._END or total + len(job.pictures) > BATCH:
                self._waiting.put(job)
                break
            jobs.append(job)
            total += len(job.pictures)
        return [job for job in jobs if job.priority != self._END]


def _hand_out(jobs: list[_Job], encoded: Encoded) -> None:
    first = 0
    for job in jobs:
        last = first + len(job.pictures)
        job.result.set_result(Encoded(encoded.codes[first:last], encoded.features[first:last]))
        first = last


def open_encoder(
    checkpoint: str | Path, device: str, precision: str, cache: Path
) -> tuple[BatchingEncoder, CheckpointInfo]:
    """Opens a checkpoint for searching and adding; see `open_runtime`.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """
    path = find(checkpoint)
    info = read_info(path)
    return BatchingEncoder(open_runtime(path, info, device, precision, cache), info.preprocess), info
