"""Fine-tunes a network on a folder of labelled folders: class labels alone make the codes.

Run it as `lookalike train DIR` or `python -m models.training.train DIR`, in several processes with `torchrun`; DIR may
hold tar archives in place of folders (`models/data/shards.py`). Stopped, the same command goes on from the last whole
epoch, in long ones from the last thousand steps, to the same result: every step draws from its own seed.

The recipe follows the paper's section 3.2 (SGD with momentum, softmax loss on F8 over H, new layers faster than
old ones) with what fine-tuning has learnt since: warm-up and cosine rates, label smoothing, averaged weights, early
layers left as they are.
"""

import argparse
import json
import math
import shutil
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.checkpoint import files as checkpoint
from models.checkpoint.calibrate import on_loaded
from models.checkpoint.info import CheckpointInfo, FeatureNorm
from models.data.dataset import Loaded, Splits
from models.data.training_data import Data, Pictures, batches, read, seed_of
from models.errors import DatasetError, RecipeError
from models.evaluation.metrics import accuracy, retrieval
from models.network.backbones import BACKBONES
from models.network.encode import encoder
from models.network.latent_hash_net import LatentHashNet
from models.training.allocator import keep_freed_memory
from models.training.config import Recipe, epochs_for
from models.training.devices import autocast, average, pick_device, process_group, same_everywhere
from models.training.losses import loss
from models.training.state import State, keep, resting, resume, start

# The state beside the checkpoint holds weights, averages, the best and the momentum as float32; then float16 weights.
BYTES_A_WEIGHT = 18
# Steps after which the state goes to disk within an epoch.
SAVED_EVERY = 1000
# Enough to tell which norm of F7 and which pool rank better, without encoding a large set once more.
JUDGED_AMONG = 5000
# Where codes rank better than F7 a small pool is better than a large one; of equals the larger wins.
POOLS = (1000, 300, 100, 30)

# Writes a line at once, where standard output is a file too.
say = partial(print, flush=True)


@dataclass(frozen=True)
class Progress:
    """Where training stands: after `step` of `steps` in `epoch` of `epochs`; accuracy once an epoch is over."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None = None


NORMS: tuple[FeatureNorm, ...] = ("raw", "unit")
Way = tuple[FeatureNorm, int]
Measured = dict[str, dict[str, float]]
Report = Callable[[Progress], None]
Note = Callable[[str], None]
Save = Callable[[], None]


def silent(_progress: Progress) -> None:
    """Reports nothing."""


def ignore(_note: str) -> None:
    """Notes nothing."""


def do_nothing() -> None:
    """Saves nothing: one process does that for all."""


def train(
    source: Path | Splits, out: Path, recipe: Recipe, report: Report = silent, note: Note = ignore
) -> CheckpointInfo:
    """Trains on labelled pictures and writes the checkpoint `out` (a path without suffix).

    Args:
        source: `DIR/CLASS/FILE` or `DIR/SPLIT/CLASS/FILE`, or files by split.
        out: the checkpoint to be.
        recipe: how.
        report: hears of every step.
        note: hears what the person should know of the data, once, before training.

    Raises:
        DatasetError: there is nothing to learn from.
        CheckpointError: what an interrupted run left belongs to another recipe.
    """
    require_size(recipe)
    keep_freed_memory()
    with process_group() as (rank, _):
        report, note = (report, note) if rank == 0 else (silent, ignore)
        data = read(source, recipe)
        for sentence in data.notes:
            note(sentence)
        state = start(recipe, data.classes, pick_device())
        require_space(out, BYTES_A_WEIGHT * sum(weight.numel() for weight in state.network.parameters()))
        unfinished = out.with_name(f"{out.name}.unfinished.safetensors")
        identity = data.identity()
        resume(state, unfinished, recipe, identity)
        require_same(state, identity)
        save = partial(keep, state, unfinished, recipe, identity) if rank == 0 else do_nothing
        take_epochs(state, data, recipe, report, save)
        if more := data.training.replaced:
            note(f"{more} pictures could not be read on the way, and others stood in for them.")
        info = finish(state, data, recipe, out)
        if rank == 0:
            info = checkpoint.save(state.network, info, out.parent)
            unfinished.unlink(missing_ok=True)
        return info


def require_same(state: State, identity: dict[str, Any]) -> None:
    """Finds out that all processes learn from the same pictures and begin at the same place.

    Raises:
        DatasetError: they do not.
    """
    device = next(state.network.parameters()).device
    place = zlib.crc32(json.dumps([identity, state.history, state.step]).encode())
    if not same_everywhere(place, device):
        raise DatasetError(
            "The processes do not see the same pictures, or the same unfinished run. Each host must read one data set, "
            "and --out must name a folder that all of them share."
        )


def require_size(recipe: Recipe) -> None:
    """Finds out before decoding whether the backbone can read the cuts that training makes.

    Raises:
        RecipeError: they are too small.
    """
    smallest = BACKBONES[recipe.backbone].smallest if recipe.backbone in BACKBONES else 0
    if recipe.cut < smallest:
        raise RecipeError(
            f"{recipe.backbone} reads {smallest} pixels or more, and training cuts {recipe.cut} out of {recipe.size}. "
            f"Use --image-size {math.ceil(smallest * recipe.enlarged)} or more."
        )


def require_space(out: Path, needed: int) -> None:
    """Finds out before the work, not after it, that the result has no place.

    Raises:
        DatasetError: there is not enough room for the checkpoint and the state beside it.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
    except OSError as error:
        raise DatasetError(f"{out.parent} cannot be written to: {error}") from error
    if free < needed:
        raise DatasetError(f"{out.parent} has {free:,} bytes left; training wants {needed:,}.")


def take_epochs(state: State, data: Data, recipe: Recipe, report: Report, save: Save) -> None:
    """Trains until enough epochs are over, or they no longer help; `save` is called where a run can go on from."""
    epochs = epochs_for(recipe, len(data.training.labels))
    while not state.over(epochs, recipe.patience):
        mean_loss = run_epoch(state, data.training, recipe, epochs, report, save)
        state.judge(mean_loss, accuracy(logits(state, data.held_out.pictures), data.held_out.labels))
        save()
        report(Progress(state.epoch, epochs, 0, 0, mean_loss, state.history[-1]["accuracy"]))


def run_epoch(state: State, pictures: Pictures, recipe: Recipe, epochs: int, report: Report, save: Save) -> float:
    """Takes what is left of one pass over the pictures, in an order of the epoch's own; returns the mean loss."""
    state.network.train()
    for module in resting(state.network, recipe):
        module.eval()
    steps = max(len(pictures.labels) // recipe.batch, 1)
    for some, labels in batches(pictures, recipe, state.epoch, state.step):
        # Dropout draws from torch's own generator.
        torch.manual_seed(seed_of(recipe, state.epoch, state.step + 1))
        for group in state.optimizer.param_groups:
            group["lr"] = group["share"] * rate((state.epoch + state.step / steps) / epochs, recipe)
        loss_now = take_step(state, some, labels, recipe)
        state.step, state.total_loss = state.step + 1, state.total_loss + loss_now
        report(Progress(state.epoch + 1, epochs, state.step, steps, loss_now))
        if state.step % SAVED_EVERY == 0:
            state.even_out()
            save()
    state.even_out()
    return state.total_loss / state.step


def take_step(state: State, pictures: Tensor, labels: Tensor, recipe: Recipe) -> float:
    """Moves the weights once, and their average after them."""
    device = next(state.network.parameters()).device
    with autocast(device):
        output, activations = state.network(pictures.to(device))
    total = loss(output.float(), activations.float(), labels.to(device), recipe)
    state.optimizer.zero_grad()
    torch.autograd.backward(total)
    average(parameter.grad for parameter in state.network.parameters())
    state.optimizer.step()
    state.averaged.update_parameters(state.network)
    return float(total.detach())


def rate(done: float, recipe: Recipe) -> float:
    """Returns the new layers' learning rate at a share of the run: a linear rise, then a cosine to zero."""
    highest = BACKBONES[recipe.backbone].rate if recipe.rate is None else recipe.rate
    if done < recipe.warm_up:
        return highest * (done / recipe.warm_up + 0.01)
    return highest * 0.5 * (1 + math.cos(math.pi * (done - recipe.warm_up) / (1 - recipe.warm_up)))


def finish(state: State, data: Data, recipe: Recipe, out: Path) -> CheckpointInfo:
    """Takes the best averaged weights, finds out how searching with them ranks best, and describes."""
    network = state.network
    network.load_state_dict(state.best)
    database = data.training.at_most(JUDGED_AMONG, recipe.seed).resized(recipe.size)
    measured = {way: found for norm in NORMS for way, found in judge(network, norm, database, data.held_out).items()}
    best = max(measured, key=lambda way: measured[way]["hds"]["precision"])
    network.feature_norm, pool = best
    about: dict[str, Any] = {"recipe": asdict(recipe), "pictures": len(data.training.labels), "history": state.history}
    about |= {"files": data.files}
    found = {
        "held_out_accuracy": max(past["accuracy"] for past in state.history),
        "held_out_pictures": len(data.held_out.labels),
        "held_out_retrieval": measured[best],
    }
    similarity = on_loaded(encoder(network, 2 * len(data.held_out.labels)), data.held_out)
    described = checkpoint.describe(network, out.name, data.classes)
    return replace(described, pool=pool, similarity=similarity, training=about, metrics=found)


def judge(network: LatentHashNet, norm: FeatureNorm, database: Loaded, queries: Loaded) -> dict[Way, Measured]:
    """Measures retrieval by norm of F7 and pool: held-out pictures search among those trained on."""
    network.feature_norm = norm
    run = encoder(network, len(queries.labels) + len(database.labels))
    encoded = [(*run(loaded.pictures), loaded.labels) for loaded in (queries, database)]
    return {(norm, pool): retrieval(encoded[0], encoded[1], pool=pool) for pool in POOLS}


@torch.inference_mode()
def logits(state: State, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Returns the averaged network's F8 `(n, classes)` of `(n, size, size, 3)` uint8."""
    network, device = state.averaged.module.eval(), next(state.network.parameters()).device
    parts = [network(torch.from_numpy(pictures[i : i + 64]).to(device))[0] for i in range(0, len(pictures), 64)]
    return torch.cat(parts).float().cpu().numpy()


def main() -> None:
    """`python -m models.training.train DIR --out CHECKPOINT`, for `torchrun`; people use `lookalike train`."""
    parser = argparse.ArgumentParser(description="Train on a folder of labelled folders, or of tar archives.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/model"))
    for option, name in {"image-size": "size", "batch-size": "batch", "freeze-stages": "frozen"}.items():
        parser.add_argument(f"--{option}", dest=name, type=int)
    for name in ("bits", "epochs", "seed"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--lr", dest="rate", type=float)
    parser.add_argument("--backbone", choices=sorted(BACKBONES))
    options = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    folder, out = options.pop("folder"), options.pop("out")
    if Path(f"{out}.json").exists():
        parser.error(f"{out} is a finished network, which a catalogue may be using; name another place with --out")
    info = train(folder, out, Recipe(**options), tell, say)
    # Of several processes one saves the checkpoint, which gives it its fingerprint.
    if info.fingerprint:
        say(f"{info.name} {info.fingerprint} {info.metrics['held_out_accuracy']}")


def tell(progress: Progress) -> None:
    """Prints a line an epoch, and one every hundred steps."""
    if progress.step and progress.step % 100 == 0:
        say(f"step {progress.step}/{progress.steps} loss {progress.loss:.3f}")
    if progress.accuracy is not None:
        epoch = f"epoch {progress.epoch}/{progress.epochs}"
        say(f"{epoch} loss {progress.loss:.3f} accuracy {progress.accuracy:.4f}")


if __name__ == "__main__":
    main()
