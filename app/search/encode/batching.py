"""From pictures to codes and F7.

Pictures that arrive together are encoded together: whoever comes while the network is busy waits and shares the next
batch, and a lone picture never waits. Searches go before additions.
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
from PIL import Image

from app.errors import UnavailableError
from app.search.encode.runtimes import Pictures, Runtime, open_runtime
from app.search.types import Encoded
from models.checkpoint.info import CheckpointInfo, find, read_info
from models.network.codes import binarise
from models.network.preprocess import Preprocess

# Larger ones gain little on a CPU, and a search waits for the batch that is under way.
BATCH = 4


class Encoder(Protocol):
    """Turns pictures into codes and F7."""

    @property
    def size(self) -> int:
        """Side of the network's input in pixels: decoding need not give much more."""
        ...

    @property
    def waiting(self) -> int:
        """How many pictures wait for the network."""
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
    """A prepared picture that waits for the network; searches go before additions."""

    priority: int
    number: int
    picture: Pictures = field(compare=False)
    result: Future[Encoded] = field(compare=False, default_factory=Future)


class BatchingEncoder:
    """Feeds one network from many threads.

    A picture that comes alone gets all cores. Where more are waiting each core takes a batch of its own: cores that
    share a batch wait for each other at every layer, and for whatever else the service has them do.
    """

    _SEARCH, _ADDITION = 0, 1

    def __init__(self, runtime: Runtime, preprocess: Preprocess) -> None:
        self._runtime, self._preprocess = runtime, preprocess
        self._waiting: list[_Job] = []
        self._numbers, self._busy, self._closed = count(), 0, False
        self._changed = threading.Condition()
        self._lanes = [threading.Thread(target=self._work, name="encoder", daemon=True) for _ in range(runtime.lanes)]
        for lane in self._lanes:
            lane.start()

    @property
    def size(self) -> int:
        """Side of the network's input in pixels."""
        return self._preprocess.size

    @property
    def waiting(self) -> int:
        """How many pictures wait for the network."""
        return len(self._waiting)

    def prepare(self, image: Image.Image) -> Image.Image:
        """Returns what the network reads of a picture; encoding that gives the same."""
        return Image.fromarray(self._preprocess(image))

    def encode_one(self, image: Image.Image) -> Future[Encoded]:
        """Begins to encode the picture of a search.

        Raises:
            UnavailableError: the encoder was closed.
        """
        return self._submit(self._SEARCH, [image])[0]

    def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
        """Encodes pictures that are being added, at least one."""
        parts = [result.result() for result in self._submit(self._ADDITION, images)]
        return Encoded(
            np.concatenate([part.codes for part in parts]), np.concatenate([part.features for part in parts])
        )

    def close(self) -> None:
        """Encodes what is waiting, then stops; whoever comes later is refused."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for lane in self._lanes:
            lane.join()

    def _submit(self, priority: int, images: Sequence[Image.Image]) -> list[Future[Encoded]]:
        jobs = [_Job(priority, next(self._numbers), self._preprocess(image)) for image in images]
        with self._changed:
            if self._closed:
                raise UnavailableError("The service is stopping.")
            for job in jobs:
                heapq.heappush(self._waiting, job)
            self._changed.notify(len(jobs))
        return [job.result for job in jobs]

    def _work(self) -> None:
        while jobs := self._next_batch():
            alone = len(jobs) == self._busy == 1 and not self._waiting
            run = self._runtime if alone else self._runtime.on_one_core
            try:
                activations, features = run(np.stack([job.picture for job in jobs]))
                _hand_out(jobs, Encoded(binarise(activations), features))
            except Exception as error:  # whoever waits must hear of it, whatever it is
                for job in jobs:
                    job.result.set_exception(error)
            with self._changed:
                self._busy -= 1

    def _next_batch(self) -> list[_Job]:
        """Waits for a picture, and takes with it this lane's share of what else is waiting; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            share = min(-(-len(self._waiting) // len(self._lanes)), BATCH)
            if share:
                self._busy += 1
            return [heapq.heappop(self._waiting) for _ in range(share)]


def _hand_out(jobs: list[_Job], encoded: Encoded) -> None:
    for at, job in enumerate(jobs):
        job.result.set_result(Encoded(encoded.codes[at : at + 1], encoded.features[at : at + 1]))


def open_encoder(
    checkpoint: str | Path, device: str, precision: str, cache: Path
) -> tuple[BatchingEncoder, CheckpointInfo]:
    """Opens a checkpoint for searching and adding; see `open_runtime`.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """
    path = find(checkpoint)
    info = read_info(path)
    runtime = open_runtime(path, info, device, precision, cache)
    warm_up(runtime, info.preprocess.size)
    return BatchingEncoder(runtime, info.preprocess), info


def warm_up(runtime: Runtime, size: int) -> None:
    """Runs every size of batch once on every lane.

    OpenVINO takes time and memory when a lane first meets a size. Taken now, no request waits for it, and a process
    does not grow later, on the day when three pictures first come together. Largest first, so that the smaller ones
    find memory to share: the other way round costs 15 MB a lane.

    Args:
        runtime: what is about to be used.
        size: side of the network's input in pixels.
    """
    pictures = np.zeros((BATCH, size, size, 3), np.uint8)
    with ThreadPoolExecutor(runtime.lanes) as pool:
        for batch in range(BATCH, 0, -1):
            list(pool.map(runtime.on_one_core, [pictures[:batch]] * runtime.lanes))
