"""A network in OpenVINO, the fastest way to run one on a CPU. Importing this module imports neither it nor torch."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from models.network import LatentHashNet

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float32]


class OpenVinoRuntime:
    """The network in OpenVINO, for CPUs.

    A picture's result does not depend on the batch that it is in. OpenVINO would take bf16 by itself where the
    CPU has it; f32 is set so that every machine gives the same codes, unless bf16 is asked for.
    """

    def __init__(self, model: Any, precision: str = "f32") -> None:
        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
        self._request = openvino_package().Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch."""
        results = self._request.infer([pictures])
        return np.array(results[0]), np.array(results[1])


def convert(network: "LatentHashNet") -> Any:
    """Returns OpenVINO's model of a network, for any number of pictures at once."""
    import torch

    from models.network import SearchHead

    size = network.preprocess.size
    openvino = openvino_package()
    return openvino.convert_model(
        SearchHead(network).eval(),
        example_input=torch.zeros(2, size, size, 3, dtype=torch.uint8),
        input=[openvino.PartialShape([-1, size, size, 3])],
    )


def openvino_package() -> Any:
    """Returns the package `openvino`, which takes a second to import."""
    # OpenVINO reports its use to its makers where this module is there; what we run reports to nobody.
    # None in the place of a module is how Python is told to fail its import.
    modules: dict[str, Any] = sys.modules
    modules["openvino_telemetry"] = None
    import openvino

    return openvino
