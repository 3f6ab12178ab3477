"""Training in two processes started by `torchrun`."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint.files import load
from models.data import training_data as train_data
from models.data.make_shards import make_shards
from models.errors import ConfigError
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess
from models.training import devices
from models.training.config import TrainingConfig
from models.training.losses import loss
from models.training.train import train
from tests.models.folders import coloured_folder
from tests.models.plain import PLAIN, RECIPE, SAVE_INTERVAL, never

ROOT = Path(__file__).parents[2]
PROGRAM = """
import json, os, sys
from pathlib import Path
from models.training.config import TrainingConfig
from models.training.train import train

folder, out = map(Path, sys.argv[1:])
info = train(folder, out, TrainingConfig(bits=8, size=64, epochs=2, batch=16))
out.with_name(os.environ["RANK"]).write_text(json.dumps([info.training["history"], info.metrics]))
"""


def run_in_two(*command: Path | str) -> "subprocess.CompletedProcess[str]":
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return subprocess.run(
        [*launcher, *map(str, command)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    folder = coloured_folder(tmp_path / "pictures", per_class=16)
    finished = run_in_two(program, folder, tmp_path / "both")
    assert finished.returncode == 0, finished.stderr
    history, metrics = json.loads((tmp_path / "0").read_text())
    assert json.loads((tmp_path / "1").read_text()) == [history, metrics]
    assert history[-1]["loss"] < history[0]["loss"]
    network, _ = load(tmp_path / "both.json")
    assert network.bits == 8


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archives")
    coloured_folder(folder / "pictures", per_class=30)
    make_shards(folder / "pictures", folder / "packed", lambda *_: None, images=8)
    return folder / "packed"


@pytest.fixture(scope="module")
def whole(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result of an uninterrupted run of two processes on the shards."""
    out = tmp_path_factory.mktemp("whole") / "net"
    finished = run_in_two("-m", "tests.models.plain", archives, out, "0")
    assert finished.returncode == 0, finished.stderr
    return out


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out.with_suffix(".safetensors"))


def histories(out: Path) -> list[str]:
    """Return the training history that each process wrote."""
    return [out.with_name(f"{out.name}.history.{rank}").read_text() for rank in range(2)]


def test_two_processes_over_shards_match_one_process(
    archives: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BACKBONES, "plain", PLAIN)
    monkeypatch.setattr(devices, "has_native_bf16", never)
    alone = train(archives, tmp_path / "alone", RECIPE)
    losses = [epoch["loss"] for epoch in json.loads(histories(whole)[0])]
    assert losses == pytest.approx([epoch["loss"] for epoch in alone.training["history"]], rel=1e-5)
    assert losses[-1] < losses[0]
    for name, value in weights(tmp_path / "alone").items():
        # Weights are saved as float16.
        torch.testing.assert_close(weights(whole)[name], value, rtol=2e-3, atol=1e-4)


def test_two_interrupted_processes_resume_to_the_same_weights(archives: Path, whole: Path, tmp_path: Path) -> None:
    command = ("-m", "tests.models.plain", archives, tmp_path / "net")
    assert run_in_two(*command, str(SAVE_INTERVAL + 2)).returncode != 0
    assert (tmp_path / "net.unfinished.safetensors").exists()
    again = run_in_two(*command, "0")
    assert again.returncode == 0, again.stderr
    for name, value in weights(tmp_path / "net").items():
        assert torch.equal(value, weights(whole)[name]), name
    assert len({*histories(whole), *histories(tmp_path / "net")}) == 1


def test_batch_not_divisible_among_processes_raises(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "plain", PLAIN)
    monkeypatch.setattr(train_data, "rank_and_world_size", lambda: (0, 2))
    recipe = replace(RECIPE, batch=11)
    with pytest.raises(ConfigError, match="A batch of 11 out of 81 images cannot be divided among 2 processes"):
        next(train_data.batches(train_data.read(archives, recipe).training, recipe, 0))


def test_shares_of_two_processes_make_up_the_batch_of_one(archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "plain", PLAIN)
    recipe = replace(RECIPE, batch=16)
    data = train_data.read(archives, recipe)
    alone = list(train_data.batches(data.training, recipe, 1))
    shares = []
    for rank in range(4):
        monkeypatch.setattr(train_data, "rank_and_world_size", lambda rank=rank: (rank, 4))
        shares.append(list(train_data.batches(data.training, recipe, 1)))
    for (images, labels), *parts in zip(alone, *shares, strict=True):
        for rank, (some, its_labels) in enumerate(parts):
            assert torch.equal(its_labels, labels[rank::4])
            torch.testing.assert_close(some, images[rank::4])


def test_mean_of_share_gradients_equals_batch_gradient() -> None:
    torch.manual_seed(0)
    # Norms in evaluation mode: in training mode each process has the statistics of its own share.
    network = LatentHashNet("efficientnet_lite0", 8, 3, Preprocess(64, "stretch", (127, 127, 127), (128, 128, 128)))
    network.eval()
    images, labels = torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8), torch.tensor([0, 1, 2, 0, 1, 2])

    def gradient(chosen: slice) -> torch.Tensor:
        network.zero_grad()
        output, activations = network(images[chosen])
        total = loss(output, activations, labels[chosen], TrainingConfig(push=1, balance=1))
        total.backward()
        found = network.latent.weight.grad
        assert found is not None
        return found.clone()

    shares = [gradient(slice(rank, None, 2)) for rank in range(2)]
    torch.testing.assert_close((shares[0] + shares[1]) / 2, gradient(slice(None)), rtol=1e-3, atol=1e-7)
