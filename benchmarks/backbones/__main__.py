"""Cost of backbones: weights, width of F7, time per image, and the difference between OpenVINO and torch.

    python -m benchmarks.backbones timm:resnet50 timm:vit_small_patch14_dinov2@224

Sizes follow after `@`. Weights are random: neither cost nor difference depend on them. Times are of one core, beside
those of efficientnet_lite0 at 224 pixels in the same run.
"""

import argparse
import sys
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from app.search.encode.batching import MAX_BATCH
from benchmarks.measure import time_interleaved
from models.network.latent_hash_net import LatentHashNet, SearchHead
from models.network.openvino_runtime import OpenVinoRuntime, convert
from models.network.registry import find_backbone, new_preprocess

DEFAULT = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "timm:mobilenetv4_conv_small",
    "timm:resnet50",
    "torchvision:resnet50",
    "timm:convnext_tiny",
    "timm:vit_small_patch14_dinov2@224",
    "timm:vit_small_patch14_dinov2",
    "timm:vit_base_patch16_siglip_224",
)
BASELINE = "efficientnet_lite0"


@dataclass(frozen=True)
class Cost:
    """Cost of a backbone at a size."""

    name: str
    size: int
    feature_dim: int
    weights: int
    difference: float
    same_in_batches: bool
    time_ratio: float


def cost(spec: str) -> Cost:
    """Measure a backbone, given as NAME or NAME@SIZE."""
    name, _, chosen = spec.partition("@")
    network, runtime = opened(name, int(chosen) if chosen else find_backbone(name).preprocess.size)
    _, baseline = opened(BASELINE, 224)
    images = random_images(network.preprocess.size, MAX_BATCH + 1)
    with torch.inference_mode():
        expected = SearchHead(network).eval()(torch.from_numpy(images))[1].numpy()
    together, alone = runtime(images)[1], np.concatenate([runtime.on_one_core(image[None])[1] for image in images])
    ways = {"it": partial(_once, runtime, images[:1]), "baseline": partial(_once, baseline, random_images(224, 1))}
    timings = time_interleaved(ways)
    return Cost(
        name,
        network.preprocess.size,
        network.feature_dim,
        sum(weight.numel() for weight in network.backbone.parameters()),
        float(np.abs(together - expected).max() / np.abs(expected).max()),
        bool(np.array_equal(together, alone)),
        timings["it"].median / timings["baseline"].median,
    )


def opened(name: str, size: int) -> tuple[LatentHashNet, OpenVinoRuntime]:
    """Return a network with random weights, and its runtime."""
    torch.manual_seed(0)
    network = LatentHashNet(name, 128, 0, new_preprocess(name, size, None), "unit").eval()
    return network, OpenVinoRuntime(convert(network))


def random_images(size: int, count: int) -> NDArray[np.uint8]:
    """Return images `(count, size, size, 3)`."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def _once(runtime: OpenVinoRuntime, images: NDArray[np.uint8], _turn: int) -> object:
    return runtime.on_one_core(images)


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description="Measure the cost of backbones.")
    parser.add_argument("names", nargs="*", default=DEFAULT, metavar="NAME[@SIZE]")
    write = sys.stdout.write
    write("| backbone | size | F7 | weights | checkpoint | time over lite0 | OpenVINO − torch | same in batches |\n")
    write("| --- | --- | --- | --- | --- | --- | --- | --- |\n")
    for spec in parser.parse_args().names:
        found = cost(spec)
        write(
            f"| `{found.name}` | {found.size} | {found.feature_dim:,} | {found.weights / 1e6:.1f} M | "
            f"{found.weights * 2 / 1e6:.0f} MB | {found.time_ratio:.1f} | {found.difference:.1e} | "
            f"{'yes' if found.same_in_batches else 'no'} |\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
