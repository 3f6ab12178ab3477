"""What a start keeps for the next one: the network as OpenVINO has it, and proof that it is what was kept."""

import logging
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from app.errors import InvalidInputError
from app.search.encode.runtimes import converted, kept, open_runtime
from models.checkpoint.files import describe, save
from models.checkpoint.info import CheckpointInfo
from models.errors import CheckpointError
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import OpenVinoRuntime

# OpenVINO's converter traces the network, as torch would no longer have it.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

Checkpoint = tuple[Path, CheckpointInfo]
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)


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
    assert kept(*checkpoint, folder) is None
    converted(*checkpoint, folder)
    return folder


def test_what_was_kept_gives_the_same_to_the_last_bit(checkpoint: Checkpoint, cache: Path, tmp_path: Path) -> None:
    fresh, again = OpenVinoRuntime(converted(*checkpoint, tmp_path)), OpenVinoRuntime(kept(*checkpoint, cache))
    for one, other in zip(fresh(PICTURES), again(PICTURES), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_start_that_finds_it_needs_no_torch(checkpoint: Checkpoint, cache: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from app.search.encode.batching import open_encoder\n"
        f"encoder, _ = open_encoder({str(checkpoint[0])!r}, 'cpu', 'f32', Path({str(cache)!r}))\n"
        "encoder.close(); print(sorted({'torch', 'timm', 'torchvision'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["model.bin", "model.xml", "sha256"])
@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_what_is_damaged_is_not_used(checkpoint: Checkpoint, cache: Path, name: str, damage: str) -> None:
    (file,) = cache.glob(f"*/{name}")
    content = file.read_bytes()
    try:
        match damage:
            case "changed":
                file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            case "cut":
                file.write_bytes(content[: len(content) // 2])
            case _:
                file.unlink()
        assert kept(*checkpoint, cache) is None
    finally:
        file.write_bytes(content)
    assert kept(*checkpoint, cache) is not None


def test_damage_is_mended_by_converting_anew(checkpoint: Checkpoint, tmp_path: Path) -> None:
    converted(*checkpoint, tmp_path)
    (file,) = tmp_path.glob("*/model.bin")
    file.write_bytes(b"")
    open_runtime(*checkpoint, "cpu", "f32", tmp_path)
    assert kept(*checkpoint, tmp_path) is not None
    assert len(list(tmp_path.iterdir())) == 1, "nothing else is left lying"


def test_without_room_to_keep_it_the_network_runs_all_the_same(
    checkpoint: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        runtime = open_runtime(*checkpoint, "cpu", "f32", tmp_path / "taken")
    assert "is not kept" in caplog.text
    assert runtime(PICTURES)[1].shape == (3, 1280)


def test_weights_that_are_others_are_refused_though_the_network_was_kept(checkpoint: Checkpoint, cache: Path) -> None:
    path, info = checkpoint
    weights = path.with_suffix(".safetensors")
    content = weights.read_bytes()
    try:
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CheckpointError, match="fingerprint does not fit"):
            open_runtime(path, info, "cpu", "f32", cache)
    finally:
        weights.write_bytes(content)


def test_a_gpu_that_is_asked_for_and_missing_is_said(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InvalidInputError, match=r"LOOKALIKE_DEVICE: torch .* finds no GPU here"):
        open_runtime(*checkpoint, "cuda", "f32", Path("nowhere"))
