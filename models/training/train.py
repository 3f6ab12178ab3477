"""Fine-tune a network on labelled folders, with class labels alone.

Run it as `lookalike train DIR` or `python -m models.training.train DIR`, in several processes with `torchrun`; DIR may
hold tar shards instead of folders (`models/data/shards.py`). After an interruption, the same command resumes from the
last epoch, or in long ones from the last thousand steps, to the same result, because every step has its own seed.

The method is the paper's section 3.2 (SGD with momentum, softmax loss on F8 over H, a higher rate for new layers), with
warm-up and cosine rates, label smoothing, averaged weights and frozen early layers.
"""

import argparse
import json
import math
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
from models.checkpoint.calibrate import calibrate_on_images
from models.checkpoint.info import CheckpointInfo, FeatureNorm
from models.data.dataset import LoadedImages, Splits
from models.data.training_data import ImageSource, TrainingData, batches, read, step_seed
from models.errors import DatasetError
from models.evaluation.metrics import accuracy, retrieval
from models.network.cuts import CUTS
from models.network.encode import encoder
from models.network.latent_hash_net import LatentHashNet
from models.network.registry import find_backbone
from models.training.allocator import keep_freed_memory
from models.training.choose_cut import settle_cut
from models.training.config import TrainingConfig, epochs_for, training_config
from models.training.devices import autocast, average, equal_on_all_ranks, pick_device, process_group
from models.training.losses import loss
from models.training.requirements import TRAIN_BYTES_PER_WEIGHT, require_size, require_space
from models.training.start import describe_start, require_one_start
from models.training.state import (
    TrainingState,
    create_state,
    eval_mode_modules,
    initial_network,
    load_state,
    save_state,
)

# Steps between saves of the state within an epoch.
SAVE_INTERVAL = 1000
# Images to compare norms of F7 and pools on, without encoding a large set again.
EVALUATION_DATABASE_SIZE = 5000
# A small pool ranks better where codes rank better than F7; of equal ones the larger wins.
POOLS = (1000, 300, 100, 30)

# Flushes every line, also if standard output is a file.
say = partial(print, flush=True)


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of training: `step` of `steps` in `epoch` of `epochs`; accuracy only at the end of an epoch."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None = None


NORMS: tuple[FeatureNorm, ...] = ("raw", "unit")
RankingChoice = tuple[FeatureNorm, int]
Measured = dict[str, dict[str, float]]
Report = Callable[[TrainingProgress], None]
Note = Callable[[str], None]
Save = Callable[[], None]


def silent(_progress: TrainingProgress) -> None:
    """Discard progress."""


def ignore(_note: str) -> None:
    """Discard a message."""


def skip_save() -> None:
    """Save nothing: rank 0 saves for all processes."""


def train(
    source: Path | Splits, out: Path, recipe: TrainingConfig, report: Report = silent, note: Note = ignore
) -> CheckpointInfo:
    """Train on labelled images and write the checkpoint `out` (a path without suffix).

    Args:
        source: `DIR/CLASS/FILE` or `DIR/SPLIT/CLASS/FILE`, or files by split.
        out: path of the new checkpoint.
        recipe: configuration.
        report: called after every step.
        note: called with every warning about the data, before training.

    Raises:
        ConfigError: the backbone is unknown, or does not take the size.
        DatasetError: the data cannot be trained on, or there is no space for the checkpoint.
        WeightsError: the file of weights cannot be used.
        CheckpointError: an interrupted run at `out` has another recipe.
    """
    require_one_start(recipe.weights, recipe.start, published=recipe.imagenet)
    require_size(recipe)
    keep_freed_memory()
    with process_group() as (rank, _):
        report, note = (report, note) if rank == 0 else (silent, ignore)
        unfinished = out.with_name(f"{out.name}.unfinished.safetensors")
        # Before images are decoded: there are weights, they fit, and there is space for them.
        weights = sum(weight.numel() for weight in initial_network(recipe, ()).parameters())
        require_space(out, TRAIN_BYTES_PER_WEIGHT * weights)
        recipe = settle_cut(source, recipe, unfinished, note)
        data = read(source, recipe)
        for warning in data.warnings:
            note(warning)
        state = create_state(recipe, data.classes, pick_device())
        identity = data.identity()
        load_state(state, unfinished, recipe, identity)
        require_same_start(state, identity)
        save = partial(save_state, state, unfinished, recipe, identity) if rank == 0 else skip_save
        run_epochs(state, data, recipe, report, save)
        if more := data.training.replaced:
            note(f"{more} images were not readable, and others were used in their place.")
        info = build_info(state, data, recipe, out)
        if rank == 0:
            info = checkpoint.save(state.network, info, out.parent)
            unfinished.unlink(missing_ok=True)
        return info


def require_same_start(state: TrainingState, identity: dict[str, Any]) -> None:
    """Check that all processes have the same data and start at the same position.

    Raises:
        DatasetError: they do not.
    """
    device = next(state.network.parameters()).device
    position = zlib.crc32(json.dumps([identity, state.history, state.step]).encode())
    if not equal_on_all_ranks(position, device):
        raise DatasetError(
            "The processes have different images, or different unfinished runs. Give each host the same data set, "
            "and set --out to a folder that all of them share."
        )


def run_epochs(state: TrainingState, data: TrainingData, recipe: TrainingConfig, report: Report, save: Save) -> None:
    """Train until all epochs are done or early stopping; `save` is called wherever a run can resume."""
    epochs = epochs_for(recipe, len(data.training.labels))
    while not state.is_finished(epochs, recipe.patience):
        mean_loss = run_epoch(state, data.training, recipe, epochs, report, save)
        state.end_epoch(mean_loss, accuracy(logits(state, data.held_out.images), data.held_out.labels))
        save()
        report(TrainingProgress(state.epoch, epochs, 0, 0, mean_loss, state.history[-1]["accuracy"]))


def run_epoch(
    state: TrainingState, images: ImageSource, recipe: TrainingConfig, epochs: int, report: Report, save: Save
) -> float:
    """Train the rest of an epoch, in the epoch's own order; return the mean loss."""
    state.network.train()
    for module in eval_mode_modules(state.network, recipe):
        module.eval()
    steps = max(len(images.labels) // recipe.batch, 1)
    for some, labels in batches(images, recipe, state.epoch, state.step):
        # Dropout uses torch's global generator.
        torch.manual_seed(step_seed(recipe, state.epoch, state.step + 1))
        for group in state.optimizer.param_groups:
            group["lr"] = group["share"] * learning_rate((state.epoch + state.step / steps) / epochs, recipe)
        loss_now = train_step(state, some, labels, recipe)
        state.step, state.total_loss = state.step + 1, state.total_loss + loss_now
        report(TrainingProgress(state.epoch + 1, epochs, state.step, steps, loss_now))
        if state.step % SAVE_INTERVAL == 0:
            state.sync_buffers()
            save()
    state.sync_buffers()
    return state.total_loss / state.step


def train_step(state: TrainingState, images: Tensor, labels: Tensor, recipe: TrainingConfig) -> float:
    """Update the weights once, and their moving average; return the loss."""
    device = next(state.network.parameters()).device
    with autocast(device):
        output, activations = state.network(images.to(device))
    total = loss(output.float(), activations.float(), labels.to(device), recipe)
    state.optimizer.zero_grad()
    torch.autograd.backward(total)
    average(parameter.grad for parameter in state.network.parameters())
    state.optimizer.step()
    state.averaged.update_parameters(state.network)
    return float(total.detach())


def learning_rate(done: float, recipe: TrainingConfig) -> float:
    """Return the new layers' learning rate at a fraction of the run: linear warm-up, then a cosine to zero."""
    highest = find_backbone(recipe.backbone, recipe.size).default_lr if recipe.rate is None else recipe.rate
    if done < recipe.warm_up:
        return highest * (done / recipe.warm_up + 0.01)
    return highest * 0.5 * (1 + math.cos(math.pi * (done - recipe.warm_up) / (1 - recipe.warm_up)))


def build_info(state: TrainingState, data: TrainingData, recipe: TrainingConfig, out: Path) -> CheckpointInfo:
    """Load the best averaged weights, choose norm and pool by held-out retrieval, and build the checkpoint's info."""
    network = state.network
    network.load_state_dict(state.best)
    database = data.training.sample(EVALUATION_DATABASE_SIZE, recipe.seed).resized(recipe.size)
    measured: dict[RankingChoice, Measured] = {}
    for norm in NORMS:
        measured |= evaluate_rankings(network, norm, database, data.held_out)
    best = max(measured, key=lambda choice: measured[choice]["hds"]["precision"])
    network.feature_norm, pool = best
    about: dict[str, Any] = {"recipe": asdict(recipe), "pictures": len(data.training.labels), "history": state.history}
    about |= {"files": data.files, **describe_start(network, recipe.weights)}
    found = {
        "held_out_accuracy": max(past["accuracy"] for past in state.history),
        "held_out_pictures": len(data.held_out.labels),
        "held_out_retrieval": measured[best],
    }
    similarity = calibrate_on_images(encoder(network, 2 * len(data.held_out.labels)), data.held_out)
    described = checkpoint.describe(network, out.name, data.classes)
    return replace(described, pool=pool, similarity=similarity, training=about, metrics=found)


def evaluate_rankings(
    network: LatentHashNet, norm: FeatureNorm, database: LoadedImages, queries: LoadedImages
) -> dict[RankingChoice, Measured]:
    """Measure retrieval by norm of F7 and pool: held-out images are queries, training images the database."""
    network.feature_norm = norm
    run = encoder(network, len(queries.labels) + len(database.labels))
    encoded = [(*run(loaded.images), loaded.labels) for loaded in (queries, database)]
    return {(norm, pool): retrieval(encoded[0], encoded[1], pool=pool) for pool in POOLS}


@torch.inference_mode()
def logits(state: TrainingState, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Compute the averaged network's F8 `(n, classes)` of images `(n, size, size, 3)` uint8."""
    network, device = state.averaged.module.eval(), next(state.network.parameters()).device
    parts = [network(torch.from_numpy(images[i : i + 64]).to(device))[0] for i in range(0, len(images), 64)]
    return torch.cat(parts).float().cpu().numpy()


def main() -> None:
    """Run training from `python -m models.training.train`, for `torchrun`; otherwise use `lookalike train`."""
    parser = argparse.ArgumentParser(description="Train on labelled folders, or on tar shards.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/model"))
    for option, name in {"image-size": "size", "batch-size": "batch", "freeze-stages": "frozen"}.items():
        parser.add_argument(f"--{option}", dest=name, type=int)
    for name in ("bits", "epochs", "seed"):
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--lr", dest="rate", type=float)
    parser.add_argument("--backbone")
    parser.add_argument("--weights")
    parser.add_argument("--cut", dest="image_cut", choices=CUTS)
    options = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    folder, out = options.pop("folder"), options.pop("out")
    if Path(f"{out}.json").exists():
        parser.error(f"{out} is a finished network that a catalogue may be using. Choose another --out")
    info = train(folder, out, training_config(options), tell, say)
    # Only rank 0 saves the checkpoint, and saving computes the fingerprint.
    if info.fingerprint:
        say(f"{info.name} {info.fingerprint} {info.metrics['held_out_accuracy']}")


def tell(progress: TrainingProgress) -> None:
    """Print a line for every epoch, and for every hundredth step."""
    if progress.step and progress.step % 100 == 0:
        say(f"step {progress.step}/{progress.steps} loss {progress.loss:.3f}")
    if progress.accuracy is not None:
        epoch = f"epoch {progress.epoch}/{progress.epochs}"
        say(f"{epoch} loss {progress.loss:.3f} accuracy {progress.accuracy:.4f}")


if __name__ == "__main__":
    main()
