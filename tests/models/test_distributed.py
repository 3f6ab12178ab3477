"""Training in two processes, as `torchrun` starts them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from models.checkpoint import load
from models.losses import loss
from models.network import LatentHashNet
from models.preprocess import Preprocess
from models.recipe import Recipe
from tests.models.folders import coloured_folder

PROGRAM = """
import json, os, sys
from pathlib import Path
from models.recipe import Recipe
from models.train import train

folder, out = map(Path, sys.argv[1:])
info = train(folder, out, Recipe(bits=8, size=64, epochs=2, batch=16))
out.with_name(os.environ["RANK"]).write_text(json.dumps([info.training["history"], info.metrics]))
"""


def test_two_processes_train_one_network(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    folder = coloured_folder(tmp_path / "pictures", per_class=16)
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    finished = subprocess.run(
        [*launcher, str(program), str(folder), str(tmp_path / "both")],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert finished.returncode == 0, finished.stderr
    history, metrics = json.loads((tmp_path / "0").read_text())
    assert json.loads((tmp_path / "1").read_text()) == [history, metrics]
    assert history[-1]["loss"] < history[0]["loss"]
    network, _ = load(tmp_path / "both.json")
    assert network.bits == 8


def test_the_mean_of_the_shares_gradients_is_the_gradient_of_the_batch() -> None:
    torch.manual_seed(0)
    # Norms in evaluation mode: in training each process takes the statistics of its own share.
    network = LatentHashNet("efficientnet_lite0", 8, 3, Preprocess(64, "stretch", (127, 127, 127), (128, 128, 128)))
    network.eval()
    pictures, labels = torch.randint(0, 256, (6, 64, 64, 3), dtype=torch.uint8), torch.tensor([0, 1, 2, 0, 1, 2])

    def gradient(chosen: slice) -> torch.Tensor:
        network.zero_grad()
        output, activations = network(pictures[chosen])
        total = loss(output, activations, labels[chosen], Recipe(push=1, balance=1))
        total.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        found = network.latent.weight.grad
        assert found is not None
        return found.clone()

    shares = [gradient(slice(rank, None, 2)) for rank in range(2)]
    torch.testing.assert_close((shares[0] + shares[1]) / 2, gradient(slice(None)), rtol=1e-3, atol=1e-7)
