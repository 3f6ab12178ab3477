"""A network in OpenVINO, the fastest way to run one on a CPU. Importing this module imports neither it nor torch."""

import queue
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.network.latent_hash_net import LatentHashNet

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

# OpenVINO's binding initialises a C++ static when a process first reads a tensor. Two threads that do so at once
# deadlock: one holds the static's guard and waits for the interpreter, the other holds the interpreter and waits for
# the guard. Under this lock every runtime runs once before it is handed out.
_FIRST_INFERENCE = threading.Lock()


class OpenVinoRuntime:
    """The network in OpenVINO, for CPUs.

    An image's F7 does not depend on the batch that it is in; H may differ in its last bit. OpenVINO would take bf16
    by itself where the CPU has it; f32 is set so that every machine gives the same codes, unless bf16 is asked for.
    """

    def __init__(self, model: Any, precision: str = "f32") -> None:
        core, settings = openvino_package().Core(), {"INFERENCE_PRECISION_HINT": precision}
        wide = core.compile_model(model, "CPU", settings | {"PERFORMANCE_HINT": "LATENCY"})
        self.lanes = int(wide.get_property("INFERENCE_NUM_THREADS"))
        streams = {"NUM_STREAMS": str(self.lanes), "INFERENCE_NUM_THREADS": str(self.lanes)}
        narrow = core.compile_model(model, "CPU", settings | streams)
        self._wide: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._narrow: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._wide.put(wide.create_infer_request())
        for _ in range(self.lanes):
            self._narrow.put(narrow.create_infer_request())
        side = wide.input(0).partial_shape[1].get_length()
        with _FIRST_INFERENCE:
            self(np.zeros((1, side, side, 3), np.uint8))

    def __call__(self, pictures: Images) -> tuple[Floats, Floats]:
        """Run one batch on all cores: the soonest answer, as long as nothing else wants them."""
        return _infer(self._wide, pictures)

    def on_one_core(self, pictures: Images) -> tuple[Floats, Floats]:
        """Run one batch on one core, and up to `lanes` at a time beside each other."""
        return _infer(self._narrow, pictures)


def _infer(requests: "queue.SimpleQueue[Any]", pictures: Images) -> tuple[Floats, Floats]:
    request = requests.get()
    try:
        results = request.infer([pictures])
        return np.array(results[0]), np.array(results[1])
    finally:
        requests.put(request)


def convert(network: "LatentHashNet") -> Any:
    """Return OpenVINO's model of a network, for any number of images at once."""
    import torch

    from models.network.latent_hash_net import SearchHead

    size = network.preprocess.size
    openvino = openvino_package()
    return openvino.convert_model(
        SearchHead(network).eval(),
        example_input=torch.zeros(2, size, size, 3, dtype=torch.uint8),
        input=[openvino.PartialShape([-1, size, size, 3])],
    )


def openvino_package() -> Any:
    """Return the package `openvino`, which takes a second to import."""
    # OpenVINO reports its use to its makers where this module is there; what we run reports to nobody.
    # None in the place of a module is how Python is told to fail its import.
    modules: dict[str, Any] = sys.modules
    modules["openvino_telemetry"] = None
    import openvino

    return openvino
