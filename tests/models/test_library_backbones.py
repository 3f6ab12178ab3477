"""Backbones of timm and torchvision: F7 against the library's own features, preprocessing, and bad names and sizes."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from models.errors import ConfigError, WeightsUnavailableError
from models.network.latent_hash_net import LatentHashNet
from models.network.libraries import timm_models, torchvision_models
from models.network.libraries.weights_file import fit_weights
from models.network.registry import find_backbone, new_preprocess

# isort: split
import timm
import torchvision

pytestmark = pytest.mark.usefixtures("one_thread")

# Models of a few hundred thousand weights that timm has for tests.
TIMM = [
    "test_vit",
    "test_vit2",
    "test_convnext",
    "test_resnet",
    "test_efficientnet",
    "test_efficientnet_ln",
    "test_byobnet",
    "test_mambaout",
    "mobilenetv4_conv_small_035",
    "mobilenetv3_small_050",
]
TORCHVISION = ["squeezenet1_1", "mobilenet_v3_small", "shufflenet_v2_x0_5", "resnet18", "mnasnet0_5", "googlenet"]


def images(size: int) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def loaded(name: str, state: dict[str, Tensor], size: int | None = None) -> nn.Module:
    backbone = find_backbone(name, size)
    network = backbone.build()
    network.load_state_dict(fit_weights(backbone, network, state, "the library's weights"))
    return network.eval()


@torch.inference_mode()
@pytest.mark.parametrize("name", TIMM)
def test_f7_equals_the_pooled_features_of_timm(name: str) -> None:
    torch.manual_seed(0)
    theirs: Any = timm.create_model(name, num_classes=10).eval()
    backbone = find_backbone(f"timm:{name}")
    x = images(backbone.preprocess.size)
    expected = theirs.forward_head(theirs.forward_features(x), pre_logits=True)
    f7 = loaded(backbone.name, theirs.state_dict())(x)
    torch.testing.assert_close(f7, expected, rtol=0, atol=0)
    assert f7.shape == (2, backbone.feature_dim)


@torch.inference_mode()
@pytest.mark.parametrize("name", TORCHVISION)
def test_f7_is_the_input_of_the_class_layer_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    options = {"init_weights": True, "transform_input": True} if name == "googlenet" else {}
    theirs = torchvision.models.get_model(name, **options).eval()
    backbone = find_backbone(f"torchvision:{name}")
    x = images(backbone.preprocess.size)
    head = [module for module in theirs.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
    seen: list[Tensor] = []
    head.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    theirs(x)
    # SqueezeNet's class layer is a convolution before the pooling.
    expected = seen[0] if seen[0].ndim == 2 else seen[0].relu().mean(dim=(2, 3))
    f7 = loaded(backbone.name, theirs.state_dict())(x)
    torch.testing.assert_close(f7, expected)
    assert f7.shape == (2, backbone.feature_dim)


@pytest.mark.parametrize(
    ("name", "dim", "size"),
    [
        ("timm:resnet50", 2048, 224),
        ("timm:convnext_tiny", 768, 224),
        ("timm:vit_small_patch14_dinov2", 384, 518),
        ("timm:vit_base_patch16_siglip_224", 768, 224),
        ("timm:vit_so400m_patch14_siglip_224", 1152, 224),
        ("timm:mobilenetv4_conv_small", 1280, 224),
        ("timm:tf_efficientnet_lite1", 1280, 240),
        ("torchvision:resnet50", 2048, 224),
        ("torchvision:convnext_tiny", 768, 224),
        ("torchvision:vit_b_16", 768, 224),
    ],
)
def test_width_and_size_of_large_models_are_known_without_building_them(name: str, dim: int, size: int) -> None:
    backbone = find_backbone(name)
    assert (backbone.feature_dim, backbone.preprocess.size) == (dim, size)


def test_models_for_one_size_are_told_from_those_for_any() -> None:
    fixed = {
        name: find_backbone(name).fixed_size for name in ("timm:test_vit", "timm:test_resnet", "torchvision:resnet18")
    }
    assert fixed == {"timm:test_vit": True, "timm:test_resnet": False, "torchvision:resnet18": False}
    assert find_backbone("torchvision:vit_b_16").fixed_size


def test_finding_a_backbone_leaves_random_numbers_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    timm_models.timm_backbone.cache_clear()
    torchvision_models.torchvision_backbone.cache_clear()
    find_backbone("timm:test_vit", 128)
    find_backbone("torchvision:resnet18", 96)
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    "model", ["resnet50.a1_in1k", "vit_base_patch16_siglip_224", "tf_efficientnet_lite0", "test_vit"]
)
def test_preprocessing_gives_the_pixels_of_timm(model: str) -> None:
    library: Any = timm
    config = library.data.resolve_data_config({}, pretrained_cfg=library.get_pretrained_cfg(model).to_dict())
    theirs = library.data.create_transform(**config)
    preprocess = find_backbone(f"timm:{model}").preprocess
    rows, columns = np.mgrid[0:500, 0:700]
    image = Image.fromarray(np.stack([rows // 2, columns // 3, (rows + columns) // 5], axis=2).astype(np.uint8))
    ours = (preprocess(image).astype(np.float32) - np.array(preprocess.mean)) / np.array(preprocess.std)
    difference = np.abs(ours - theirs(image).permute(1, 2, 0).numpy()) * np.array(preprocess.std)
    # timm rounds the side before it cuts, so positions differ by less than a pixel: one or two steps of 255 here.
    assert difference.max() < 3


@pytest.mark.parametrize("model", ["resnet50", "resnet50.IMAGENET1K_V1", "vit_b_16.IMAGENET1K_SWAG_E2E_V1"])
def test_preprocessing_gives_the_pixels_of_torchvision(model: str) -> None:
    name, _, tag = model.partition(".")
    published = torchvision.models.get_model_weights(name)
    theirs: Any = (published[tag] if tag else published["DEFAULT"]).transforms()
    preprocess = find_backbone(f"torchvision:{model}").preprocess
    rows, columns = np.mgrid[0:500, 0:700]
    image = Image.fromarray(np.stack([rows // 2, columns // 3, (rows + columns) // 5], axis=2).astype(np.uint8))
    ours = (preprocess(image).astype(np.float32) - np.array(preprocess.mean)) / np.array(preprocess.std)
    difference = np.abs(ours - theirs(image).permute(1, 2, 0).numpy()) * np.array(preprocess.std)
    assert difference.max() < 3


def test_library_preprocessing_is_the_default_and_a_cut_replaces_it() -> None:
    own = new_preprocess("timm:vit_base_patch16_siglip_224", 224, None)
    assert (own.fit, own.crop_ratio, own.resampling, own.colour) == ("crop", 0.9, "bicubic", "srgb")
    assert own.mean == (127.5, 127.5, 127.5)
    padded = new_preprocess("timm:vit_base_patch16_siglip_224", 224, "pad")
    assert (padded.fit, padded.crop_ratio, padded.resampling) == ("pad", 1.0, "bicubic")


@torch.inference_mode()
def test_position_embeddings_are_resampled_to_another_size() -> None:
    """As timm does for its own download."""
    torch.manual_seed(0)
    theirs: Any = timm.create_model("test_vit", num_classes=0).eval()
    state = {name: value.clone() for name, value in theirs.state_dict().items()}
    theirs.set_input_size(img_size=96)
    x = images(96)
    torch.testing.assert_close(loaded("timm:test_vit", state, 96)(x), theirs(x), rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_network_can_be_moved_to_another_size() -> None:
    torch.manual_seed(0)
    network = LatentHashNet("timm:test_vit", 16, 0, new_preprocess("timm:test_vit", 160, None)).eval()
    other = network.with_preprocess(new_preprocess("timm:test_vit", 96, None))
    assert other.features(torch.zeros(1, 96, 96, 3, dtype=torch.uint8)).shape == (1, network.feature_dim)
    torch.testing.assert_close(other.latent.weight, network.latent.weight, rtol=0, atol=0)


BAD_NAMES = {
    "timm:resnet5": r"timm .* has no image model resnet5\. The nearest names are .*resnet",
    "timm:resnet50.nowhere": r"timm:resnet50\.nowhere: timm .* has no weights 'nowhere' of resnet50\. It has .*a1_in1k",
    "timm:": "has no image model",
    "timm:hf-hub:someone/model": "has no image model hf-hub",
    "timm:../../etc/passwd": "has no image model",
    "torchvision:resnet5": r"torchvision .* has no image model resnet5\. The nearest names are .*resnet50",
    "torchvision:resnet50.nowhere": r"no weights 'nowhere' of resnet50\. There are .*IMAGENET1K_V1",
    "torchvision:fasterrcnn_resnet50_fpn": "is a model for detection, which has no pooled features",
    "torchvision:raft_small": "is a model for optical_flow",
    "torchvision:": "has no image model",
    "onnx:resnet50": r"Unknown backbone onnx:resnet50\. Choose one of alexnet,.*timm:NAME",
}


@pytest.mark.parametrize(("name", "message"), BAD_NAMES.items(), ids=BAD_NAMES.keys())
def test_bad_names_raise_and_name_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        find_backbone(name)


def test_former_name_of_timm_raises_with_the_present_one() -> None:
    former, present = next((old, new) for old, new in timm.models.get_deprecated_models().items() if new)
    with pytest.raises(ConfigError, match=f"has no image model {former}. It is now called timm:{present}"):
        find_backbone(f"timm:{former}")


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "timm:vit_small_patch14_dinov2",
            224 + 5,
            r"Image size 229: .*patches of 14 × 14.*Use --image-size 224 or 518",
        ),
        ("timm:vit_base_patch16_siglip_224", 230, "Use --image-size 240 or 224"),
        (
            "torchvision:vit_b_16",
            100,
            r"Image size 100: torchvision:vit_b_16 cannot take it.*Use --image-size (96|112)",
        ),
        ("timm:test_vit", 3, "Image size 3: timm:test_vit cannot take it"),
    ],
)
def test_sizes_that_a_vision_transformer_cannot_take_raise_with_those_that_it_can(
    name: str, size: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        find_backbone(name, size)


@pytest.mark.parametrize("error", [ConnectionError("no route to host"), RuntimeError("Temporary failure\nmore")])
def test_failed_download_says_where_the_file_is(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = find_backbone("timm:test_vit")

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(WeightsUnavailableError, match=r"huggingface.co/timm/test_vit.*--weights FILE"):
        backbone.imagenet()


def test_failed_download_of_torchvision_says_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(WeightsUnavailableError, match=r"no route to host.*https://download.*--weights FILE"):
        find_backbone("torchvision:resnet18").imagenet()


def test_model_without_published_weights_says_so() -> None:
    library: Any = timm
    without = next(name for name in timm.list_models("resnet*") if not library.get_pretrained_cfg(name).has_weights)
    with pytest.raises(WeightsUnavailableError, match=f"timm has no weights of {without}.*--weights"):
        find_backbone(f"timm:{without}").imagenet()


@torch.inference_mode()
@pytest.mark.parametrize("number", [0, 1, 2])
def test_lite_models_of_timm_take_the_installed_weights(number: int) -> None:
    theirs, ours = find_backbone(f"timm:tf_efficientnet_lite{number}"), find_backbone(f"efficientnet_lite{number}")
    weights, expected = theirs.imagenet(), ours.imagenet()
    assert weights.keys() == theirs.build().state_dict().keys()
    for name, value in expected.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=0)
    assert theirs.preprocess.size == ours.preprocess.size
