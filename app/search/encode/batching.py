"""Encode images into codes and F7, with dynamic batching.

Images that arrive while the network is busy are encoded in one batch; an image that arrives while it is idle is
encoded at once. Searches have priority over additions.
"""

import heapq
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.errors import UnavailableError
from app.search.encode.runtimes import Images, Runtime, open_runtime
from app.search.types import Encodings
from models.checkpoint.info import CheckpointInfo, find_checkpoint, read_info
from models.network.codes import binarise

# An image as `Preprocess` prepared it: RGB, or its pixels `(height, width, 3)`.
NetworkInput = Image.Image | NDArray[np.uint8]

# Largest batch. Larger ones gain little on a CPU, and a search waits for the batch in progress.
MAX_BATCH = 4


class Encoder(Protocol):
    """Encodes images, as `Preprocess` prepared them, into codes and F7."""

    @property
    def queued(self) -> int:
        """Number of queued images."""
        ...

    def encode_one(self, image: NetworkInput, *, alone: bool = True) -> Future[Encodings]:
        """Submit the query image of a search, with priority over images of `encode_many`.

        Args:
            image: the query image.
            alone: whether no other search is under way, which will need the other cores meanwhile.
        """
        ...

    def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
        """Encode images that are being added; row i is image i."""
        ...


@dataclass(order=True)
class _Job:
    """A queued image, ordered by priority, then arrival."""

    priority: int
    number: int
    image: Images = field(compare=False)
    alone: bool = field(compare=False)
    result: Future[Encodings] = field(compare=False, default_factory=Future)


class BatchingEncoder:
    """Batches images of many threads for one network. Thread-safe.

    A single image is encoded on all cores. If more are waiting, or other searches are under way, each core takes a
    separate batch: cores that share a batch wait for each other at every layer, and for any other work on these cores.
    """

    _SEARCH, _ADDITION = 0, 1

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._waiting: list[_Job] = []
        self._numbers, self._busy, self._closed = count(), 0, False
        self._changed = threading.Condition()
        self._lanes = [
            threading.Thread(target=self._work, name="encoder", daemon=True) for _ in range(runtime.parallel_batches)
        ]
        for lane in self._lanes:
            lane.start()

    @property
    def queued(self) -> int:
        """Number of queued images."""
        return len(self._waiting)

    def encode_one(self, image: NetworkInput, *, alone: bool = True) -> Future[Encodings]:
        """Submit the query image of a search; see `Encoder.encode_one`.

        Raises:
            UnavailableError: the encoder is closed.
        """
        return self._submit(self._SEARCH, [image], alone)[0]

    def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
        """Encode images that are being added, at least one.

        Raises:
            UnavailableError: the encoder is closed.
        """
        parts = [result.result() for result in self._submit(self._ADDITION, images)]
        return Encodings(
            np.concatenate([part.codes for part in parts]), np.concatenate([part.features for part in parts])
        )

    def close(self) -> None:
        """Encode the queued images, then stop; later calls raise UnavailableError."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.join()

    def _submit(self, priority: int, images: Sequence[NetworkInput], alone: bool = True) -> list[Future[Encodings]]:
        jobs = [_Job(priority, next(self._numbers), np.asarray(image), alone) for image in images]
        with self._changed:
            if self._closed:
                raise UnavailableError("The service is stopping. Try again after it restarts.")
            for job in jobs:
                heapq.heappush(self._waiting, job)
            self._changed.notify(len(jobs))
        return [job.result for job in jobs]

    def _work(self) -> None:
        while jobs := self._next_batch():
            alone = len(jobs) == self._busy == 1 and jobs[0].alone and not self._waiting
            run = self._runtime if alone else self._runtime.on_one_core
            try:
                activations, features = run(np.stack([job.image for job in jobs]))
                _set_results(jobs, Encodings(binarise(activations), features))
            except Exception as error:  # every waiting caller must get the error
                for job in jobs:
                    job.result.set_exception(error)
            with self._changed:
                self._busy -= 1

    def _next_batch(self) -> list[_Job]:
        """Wait for images and take this lane's share of the queue; empty once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            share = min(-(-len(self._waiting) // len(self._lanes)), MAX_BATCH)
            if share:
                self._busy += 1
            return [heapq.heappop(self._waiting) for _ in range(share)]


def _set_results(jobs: list[_Job], encoded: Encodings) -> None:
    for at, job in enumerate(jobs):
        job.result.set_result(Encodings(encoded.codes[at : at + 1], encoded.features[at : at + 1]))


def open_encoder(
    checkpoint: str | Path, device: str, precision: str, cache: Path
) -> tuple[BatchingEncoder, CheckpointInfo]:
    """Open a checkpoint as an encoder; see `open_runtime` for the arguments.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """
    path = find_checkpoint(checkpoint)
    info = read_info(path)
    runtime = open_runtime(path, info, device, precision, cache)
    warm_up(runtime, info.preprocess.shape)
    return BatchingEncoder(runtime), info


def warm_up(runtime: Runtime, shape: tuple[int, int, int]) -> None:
    """Run every batch size once on every lane.

    OpenVINO compiles and allocates memory when a lane first runs a batch size. Doing this at startup keeps requests
    from waiting for it, and memory from growing later. Largest first, so that smaller sizes reuse its memory: the
    other order costs 15 MB per lane.

    Args:
        runtime: runtime to warm up.
        shape: shape of the network's input.
    """
    images = np.zeros((MAX_BATCH, *shape), np.uint8)
    with ThreadPoolExecutor(runtime.parallel_batches) as pool:
        for batch in range(MAX_BATCH, 0, -1):
            list(pool.map(runtime.on_one_core, [images[:batch]] * runtime.parallel_batches))
