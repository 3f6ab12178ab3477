"""Backbones of libraries in OpenVINO: equal to torch within a tolerance, and F7 independent of batch and cores."""

from itertools import islice

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.demo import demo_images
from app.search.encode.batching import MAX_BATCH
from app.search.encode.runtimes import TorchRuntime
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import OpenVinoRuntime, convert
from models.network.registry import new_preprocess

# OpenVINO's converter uses torch's deprecated tracing, and torch warns of Python's control flow in the models.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

# A tiny model of each kind, and the widths of large ones.
SMALL = ["timm:test_vit@160", "timm:test_convnext@96", "timm:test_efficientnet@96", "torchvision:shufflenet_v2_x0_5@96"]
LARGE = [
    "timm:resnet50@96",
    "torchvision:resnet50@96",
    "timm:convnext_tiny@96",
    "timm:vit_small_patch14_dinov2@98",
    "timm:vit_base_patch16_siglip_224@96",
    "timm:mobilenetv4_conv_small@96",
    "timm:swin_tiny_patch4_window7_224@224",
    "torchvision:vit_b_16@96",
]


@pytest.fixture(scope="module", params=[*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)])
def network(request: pytest.FixtureRequest) -> LatentHashNet:
    name, _, size = request.param.partition("@")
    torch.manual_seed(0)
    return LatentHashNet(name, 64, 0, new_preprocess(name, int(size), None), "unit").eval()


@pytest.fixture(scope="module")
def runtime(network: LatentHashNet) -> OpenVinoRuntime:
    return OpenVinoRuntime(convert(network))


@pytest.fixture(scope="module")
def images(network: LatentHashNet) -> NDArray[np.uint8]:
    return np.stack([network.preprocess(drawing.image) for drawing in islice(demo_images(), 7)])


def test_openvino_equals_torch(network: LatentHashNet, runtime: OpenVinoRuntime, images: NDArray[np.uint8]) -> None:
    expected, found = TorchRuntime(network, "cpu")(images), runtime(images)
    assert found[1].shape == (len(images), network.feature_dim)
    for theirs, ours in zip(expected, found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * float(np.abs(theirs).max()))
    np.testing.assert_allclose(np.linalg.norm(found[1], axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 3, MAX_BATCH])
def test_f7_does_not_depend_on_batch_size_or_cores(
    runtime: OpenVinoRuntime, images: NDArray[np.uint8], batch: int
) -> None:
    """Otherwise an image would not find itself at distance 0."""
    together = runtime(images)[1]
    for run in (runtime, runtime.on_one_core):
        parts = [run(images[first : first + batch])[1] for first in range(0, len(images), batch)]
        np.testing.assert_array_equal(np.concatenate(parts), together)
