"""Benchmark of inference runtimes: torch, torch with channels-last and bf16, ONNX Runtime, OpenVINO.

Each backbone has random weights (speed does not depend on them) and its usual input size, and runs in batches of 1, 8
and 32 with one thread per core.
"""

import copy
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.measure import time_interleaved
from benchmarks.options import Options, Say
from benchmarks.results import Results
from models.network.latent_hash_net import LatentHashNet, SearchHead
from models.network.openvino_runtime import OpenVinoRuntime, convert
from models.network.preprocess import Preprocess

BATCHES, BITS = (1, 8, 32), 48
SIZES = {"efficientnet_lite0": 224, "alexnet": 224}

Images = NDArray[np.uint8]
Run = Callable[[Images], object]


def run(_options: Options, say: Say) -> Results:
    """Time every runtime for every backbone and batch size; missing packages are skipped with a reason."""
    results = Results("encode", {"sizes": SIZES})
    for backbone, size in SIZES.items():
        say(backbone)
        reads = Preprocess(size, "stretch", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        network = LatentHashNet(backbone, BITS, 10, reads, "unit").eval()
        with TemporaryDirectory() as folder:
            ways, missing = all_ways(network, Path(folder))
        for name in missing:
            results.skip(f"{backbone}, {name}", f"{name} is not installed: pip install -e '.[bench]'")
        for batch in BATCHES:
            images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
            timings = time_interleaved({name: partial(_once, way, images) for name, way in ways.items()})
            for name, timing in timings.items():
                results.time(f"{backbone}, {batch} at once, {name}", timing)
            for name, timing in timings.items():
                if name != "OpenVINO":
                    row = f"{backbone}, {batch} at once, {name} over OpenVINO"
                    results.ratio(row, timing.median, timings["OpenVINO"].median)
    return results


def all_ways(network: LatentHashNet, folder: Path) -> tuple[dict[str, Run], list[str]]:
    """Return the runtimes of a network by name, and the names of those that are not installed."""
    ways: dict[str, Run] = {"OpenVINO": OpenVinoRuntime(convert(network)), **torch_ways(network)}
    try:
        ways["ONNX Runtime"] = onnx_runtime(network, folder)
    except ImportError:
        return ways, ["ONNX Runtime"]
    return ways, []


def torch_ways(network: LatentHashNet) -> dict[str, Run]:
    """Return torch with default settings, and as its documentation recommends for CPUs."""
    head, laid_out = SearchHead(network).eval(), SearchHead(copy.deepcopy(network)).eval()
    for module in laid_out.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)

    def eager(images: Images) -> object:
        with torch.inference_mode():
            return head(torch.from_numpy(images))

    def channels_last(images: Images) -> object:
        # The input is channels-last; the first layer detects that, and the others keep the layout.
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            return laid_out(torch.from_numpy(images))

    return {"torch": eager, "torch, channels-last and bf16": channels_last}


def onnx_runtime(network: LatentHashNet, folder: Path) -> Run:
    """Export a network with torch, and return it in ONNX Runtime.

    Raises:
        ImportError: it is not installed.
    """
    onnxruntime = import_module("onnxruntime")
    size = network.preprocess.size
    with warnings.catch_warnings():
        # The exporter without further dependencies warns of its deprecation.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            SearchHead(network).eval(),
            (torch.zeros(2, size, size, 3, dtype=torch.uint8),),
            str(folder / "network.onnx"),
            input_names=["pictures"],
            dynamic_axes={"pictures": {0: "n"}},
            dynamo=False,
        )
    session: Any = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"pictures": images})


def _once(way: Run, images: Images, _turn: int) -> object:
    return way(images)
