"""Cache of converted networks: reuse, damage and checksums."""

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.errors import InvalidInputError
from app.search.encode.runtimes import convert_and_cache, load_cached, open_runtime
from models.checkpoint.files import describe, save
from models.checkpoint.info import CheckpointInfo
from models.errors import CheckpointError
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import OpenVinoRuntime

# OpenVINO's converter uses torch's deprecated tracing.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

Checkpoint = tuple[Path, CheckpointInfo]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    backbone = BACKBONES["efficientnet_lite0"]
    network = LatentHashNet(backbone.name, 16, 0, replace(backbone.preprocess, size=64), "unit").eval()
    return folder / "small.json", save(network, describe(network, "small", ()), folder)


@pytest.fixture(scope="module")
def cache(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    assert load_cached(*checkpoint, folder) is None
    convert_and_cache(*checkpoint, folder)
    return folder


def test_cached_network_gives_bitwise_equal_results(checkpoint: Checkpoint, cache: Path, tmp_path: Path) -> None:
    fresh = OpenVinoRuntime(convert_and_cache(*checkpoint, tmp_path))
    cached = OpenVinoRuntime(load_cached(*checkpoint, cache))
    for one, other in zip(fresh(IMAGES), cached(IMAGES), strict=True):
        np.testing.assert_array_equal(one, other)


def test_start_with_a_cached_network_does_not_import_torch(checkpoint: Checkpoint, cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from app.search.encode.batching import open_encoder\n"
        f"encoder, _ = open_encoder({str(checkpoint[0])!r}, 'cpu', 'f32', Path({str(cache)!r}))\n"
        "encoder.close(); print(sorted({'torch', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "sha256"])
@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_damaged_cache_is_not_used(checkpoint: Checkpoint, cache: Path, name: str, damage: str) -> None:
    (file,) = cache.glob(f"*/{name}")
    content = file.read_bytes()
    try:
        match damage:
            case "changed":
                file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            case "truncated":
                file.write_bytes(content[: len(content) // 2])
            case _:
                file.unlink()
        assert load_cached(*checkpoint, cache) is None
    finally:
        file.write_bytes(content)
    assert load_cached(*checkpoint, cache) is not None


@pytest.mark.slow
def test_damaged_cache_is_converted_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    convert_and_cache(*checkpoint, tmp_path)
    (file,) = tmp_path.glob("*/model.bin")
    file.write_bytes(b"")
    open_runtime(*checkpoint, "cpu", "f32", tmp_path)
    assert load_cached(*checkpoint, tmp_path) is not None
    assert len(list(tmp_path.iterdir())) == 1, "no temporary folder is left"


def test_network_runs_if_caching_fails(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        runtime = open_runtime(*checkpoint, "cpu", "f32", tmp_path / "taken")
    assert "Caching the converted network failed" in caplog.text
    assert runtime(IMAGES)[1].shape == (3, 1280)


def test_changed_weights_are_refused_even_if_the_network_is_cached(checkpoint: Checkpoint, cache: Path) -> None:
    path, info = checkpoint
    weights = path.with_suffix(".safetensors")
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CheckpointError, match="fingerprint does not match"):
            open_runtime(path, info, "cpu", "f32", cache)
    finally:
        weights.write_bytes(content)


def test_missing_gpu_raises_if_cuda_is_requested(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidInputError, match=r"LOOKALIKE_DEVICE: torch .* finds no GPU"):
        open_runtime(*checkpoint, "cuda", "f32", Path("nowhere"))
