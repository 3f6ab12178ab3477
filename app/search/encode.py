"""From pictures to codes and F7: the one place of the service that touches the network.

On a CPU the network runs in OpenVINO, converted in memory from the torch module; on a GPU in torch. Pictures
that arrive together are encoded together: whoever comes while the network is busy waits and shares the next
batch, and a lone picture never waits.
"""

import queue
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from app.errors import UnavailableError
from app.search.types import Encoded
from models.checkpoint import CheckpointInfo, load
from models.codes import binarise
from models.network import LatentHashNet, SearchHead
from models.preprocess import Preprocess

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float32]

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

    def encode_one(self, image: Image.Image) -> Encoded:
        """Encodes the picture of a search, before any that `encode_many` has waiting."""
        ...

    def encode_many(self, images: Sequence[Image.Image]) -> Encoded:
        """Encodes pictures that are being added; row i is picture i."""
        ...


class Runtime(Protocol):
    """Runs a network: pictures `(n, size, size, 3)` uint8 → H `(n, bits)` and F7 `(n, feature_dim)`."""

    def __call__(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch."""
        ...


class TorchRuntime:
    """The network in torch, for GPUs and as the reference."""

    def __init__(self, network: LatentHashNet, device: str) -> None:
        self._device = torch.device(device)
        self._head = SearchHead(network).eval().to(self._device)

    @torch.inference_mode()
    def __call__(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch."""
        activations, features = self._head(torch.from_numpy(pictures).to(self._device))
        return activations.cpu().numpy(), features.cpu().numpy()


class OpenVinoRuntime:
    """The network in OpenVINO, for CPUs.

    A picture's result does not depend on the batch that it is in. OpenVINO would take bf16 by itself where the
    CPU has it; f32 is set so that every machine gives the same codes, unless bf16 is asked for.
    """

    def __init__(self, network: LatentHashNet, precision: str = "f32") -> None:
        # OpenVINO reports its use to its makers where this module is there; what we run reports to nobody.
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # how an import is made to fail
        import openvino

        size = network.preprocess.size
        model = openvino.convert_model(
            SearchHead(network).eval(),
            example_input=torch.zeros(2, size, size, 3, dtype=torch.uint8),
            input=[openvino.PartialShape([-1, size, size, 3])],
        )
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch."""
        results = self._request.infer([pictures])
        return np.array(results[0]), np.array(results[1])


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

    def encode_one(self, image: Image.Image) -> Encoded:
        """Encodes the picture of a search.

        Raises:
            UnavailableError: the encoder was closed.
        """
        return self._submit(self._SEARCH, self._preprocess(image)[None]).result()

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
    checkpoint: str | Path, device: str = "auto", precision: str = "f32"
) -> tuple[BatchingEncoder, CheckpointInfo]:
    """Loads a checkpoint and makes it run where it runs best.

    Args:
        checkpoint: the name of one that ships, or a path.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        precision: `f32` or, on a CPU, `bf16`.

    Raises:
        CheckpointError: the checkpoint cannot be used.
    """
    network, info = load(checkpoint)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    runtime = OpenVinoRuntime(network, precision) if device == "cpu" else TorchRuntime(network, device)
    return BatchingEncoder(runtime, info.preprocess), info
