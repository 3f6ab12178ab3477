"""Inference with OpenVINO, the fastest runtime on a CPU. Importing this module imports neither OpenVINO nor torch."""

import queue
import sys
import threading
import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ConfigError

if TYPE_CHECKING:
    from models.network.latent_hash_net import LatentHashNet

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

# OpenVINO's binding initialises a C++ static when a process first reads a tensor. Two threads that do so at once
# deadlock: one holds the static's guard and waits for the interpreter, the other holds the interpreter and waits for
# the guard. So every new runtime runs once under this lock before it is used.
_FIRST_INFERENCE = threading.Lock()


class OpenVinoRuntime:
    """A network in OpenVINO, on CPUs.

    F7 of an image does not depend on the batch; H may differ in its last bit. OpenVINO would use bf16 by default where
    the CPU supports it; the default here is f32, so that every machine computes the same codes.

    The sums of a matrix product may depend on the number of its rows, and in transformers some products have a row for
    each image. So images of networks with matrix products besides H run one by one, which costs these networks little.

    Raises:
        ConfigError: OpenVINO does not compute in this precision on this CPU.
    """

    def __init__(self, model: Any, precision: str = "f32") -> None:
        core, settings = import_openvino().Core(), {"INFERENCE_PRECISION_HINT": precision}
        self._one_by_one = sum(op.get_type_name() == "MatMul" for op in model.get_ops()) > 1
        wide = core.compile_model(model, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})
        if wide.get_property("INFERENCE_PRECISION_HINT") != getattr(import_openvino().Type, precision):
            raise ConfigError(f"OpenVINO does not compute in {precision} on this CPU.")
        self.parallel_batches = int(wide.get_property("INFERENCE_NUM_THREADS"))
        streams = {"NUM_STREAMS": str(self.parallel_batches), "INFERENCE_NUM_THREADS": str(self.parallel_batches)}
        narrow = core.compile_model(model, "CPU", settings | streams)
        self._wide: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._narrow: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._wide.put(wide.create_infer_request())
        for _ in range(self.parallel_batches):
            self._narrow.put(narrow.create_infer_request())
        shape = [dimension.get_length() for dimension in wide.input(0).partial_shape[1:]]
        with _FIRST_INFERENCE:
            self(np.zeros((1, *shape), np.uint8))

    def __call__(self, pictures: Images) -> tuple[Floats, Floats]:
        """Run one batch on all cores: lowest latency, while no other batch is waiting."""
        return self._infer(self._wide, pictures)

    def on_one_core(self, pictures: Images) -> tuple[Floats, Floats]:
        """Run one batch on one core; up to `parallel_batches` calls run in parallel."""
        return self._infer(self._narrow, pictures)

    def _infer(self, requests: "queue.SimpleQueue[Any]", pictures: Images) -> tuple[Floats, Floats]:
        parts = np.split(pictures, len(pictures)) if self._one_by_one else [pictures]
        request = requests.get()
        try:
            # The results are views of buffers that the next call reuses.
            outputs = [tuple(map(np.array, request.infer([part]).values())) for part in parts]
        finally:
            requests.put(request)
        activations, features = (np.concatenate(arrays) for arrays in zip(*outputs, strict=True))
        return activations, features


def convert(network: "LatentHashNet") -> Any:
    """Convert a network to an OpenVINO model with a dynamic batch size."""
    import torch
    from torch.jit._trace import TracerWarning

    from models.network.latent_hash_net import SearchHead

    shape = network.preprocess.shape
    openvino = import_openvino()
    fused_attention = torch.backends.mha.get_fastpath_enabled()
    # Attention as one operator of torch, which OpenVINO does not have.
    torch.backends.mha.set_fastpath_enabled(False)
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, fused_attention)
        stack.enter_context(warnings.catch_warnings())
        # Models of libraries check and branch on sizes, which are fixed here.
        warnings.filterwarnings("ignore", category=TracerWarning)
        return openvino.convert_model(
            SearchHead(network).eval(),
            example_input=torch.zeros(2, *shape, dtype=torch.uint8),
            input=[openvino.PartialShape([-1, *shape])],
        )


def openvino_version() -> str:
    """Return OpenVINO's version, such as `2026.4.1`, without its build number."""
    return str(import_openvino().__version__).partition("-")[0]


def import_openvino() -> Any:
    """Import the package `openvino` (takes a second), with its telemetry disabled."""
    # OpenVINO sends usage reports to Intel if this module can be imported.
    # None in `sys.modules` makes Python fail its import.
    modules: dict[str, Any] = sys.modules
    modules["openvino_telemetry"] = None
    import openvino

    return openvino
