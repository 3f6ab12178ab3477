"""Fine-tune a network on labelled folders, with class labels alone.

Run it as `lookalike train DIR` or `python -m models.training.train DIR`, in several processes with `torchrun`; DIR may
hold tar shards instead of folders (`models/data/shards.py`). After an interruption, the same command resumes from the
last epoch, or in long ones from the last thousand steps, to the same result, because every step has its own seed.

The method is the paper's section 3.2 (SGD with momentum, softmax loss on F8 over H, a higher rate for new layers), with
warm-up and cosine rates, label smoothing, averaged weights and frozen early layers.
"""

import argparse
import copy
import math
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from models.allocator import keep_freed_memory
from models.checkpoint import files as checkpoint
from models.checkpoint.info import CheckpointInfo
from models.data.dataset import Splits, read_splits
from models.data.shards import shards_in
from models.data.training_data import ImageSource, TrainingData, batches, read, read_shards, step_seed
from models.network.cuts import CUTS
from models.network.registry import find_backbone
from models.training.choose_cut import settle_cut
from models.training.config import TrainingConfig, epochs_for, training_config
from models.training.devices import autocast, average, from_rank_zero, pick_device, process_group, rank_and_world_size
from models.training.finish import describe_trained
from models.training.head import train_head
from models.training.losses import loss
from models.training.measure import MONITORED, epoch_scores
from models.training.near_copies import with_products
from models.training.progress import MODES, NoLog, Report, TrainingLog, TrainingProgress, report_to_both, silent
from models.training.requirements import Cost, RunFiles, require_same_start, require_size, require_space, space_needed
from models.training.start import initial_network, require_one_start
from models.training.state import TrainingState, create_state, eval_mode_modules, load_state, save_state

# Steps between saves of the state within an epoch.
SAVE_INTERVAL = 1000
# Steps that are timed before the work.
TIMED_STEPS = 2

# Flushes every line, also if standard output is a file.
say = partial(print, flush=True)

Note = Callable[[str], None]
Save = Callable[[], None]


def ignore(_note: str) -> None:
    """Discard a message."""


def skip_save() -> None:
    """Save nothing: rank 0 saves for all processes."""


def train(
    source: Path | Splits, out: Path, recipe: TrainingConfig, report: Report = silent, note: Note = ignore
) -> CheckpointInfo:
    """Train on labelled images and write the checkpoint `out` (a path without suffix).

    A network with pretrained weights first gets a head on frozen F7, which is written as the checkpoint `OUT-head`.

    Args:
        source: `DIR/CLASS/FILE` or `DIR/SPLIT/CLASS/FILE`, or files by split.
        out: path of the new checkpoint.
        recipe: configuration.
        report: called after every step.
        note: called with every warning about the data, what the training takes, and the head's checkpoint.

    Raises:
        ConfigError: the backbone is unknown, or does not take the size.
        DatasetError: the data cannot be trained on, or there is no space.
        WeightsError: the file of weights cannot be used.
        CheckpointError: an interrupted run at `out` has another recipe, or the checkpoint of its head exists.
    """
    require_one_start(recipe.weights, recipe.start, published=recipe.imagenet)
    require_size(recipe)
    keep_freed_memory()
    files = RunFiles(out)
    with process_group() as (rank, _):
        files.require_new()
        # Before images are decoded: there are weights, they fit, and there is space for them.
        require_space(out, space_needed(initial_network(recipe, ())))
        report, note = (report, note) if rank == 0 else (silent, ignore)
        recipe, data = prepare(source, recipe, files, report, note)
        state, save = open_state(data, recipe, files)
        log = TrainingLog(files.log, recipe.batch, state.position) if rank == 0 else NoLog()
        with log:
            report = report_to_both(log, report)
            note(str(cost_of_rest(state, data, recipe)))
            if not (state.head or state.history or state.step or recipe.from_scratch):
                start_with_head(state, data, recipe, files, report, note, save)
            run_epochs(state, data, recipe, report, save)
            if more := data.training.replaced:
                note(f"{more} images were not readable, and others were used in their place.")
            if state.best_scores is state.head:
                note(f"No epoch was better on held-out images than the head: {out} is the same network.")
            info = finish(state, data, recipe, files)
            log.done(state.epoch, state.best_scores)
        return info


def prepare(
    source: Path | Splits, recipe: TrainingConfig, files: RunFiles, report: Report, note: Note
) -> tuple[TrainingConfig, TrainingData]:
    """Find the images of one product, choose the cut, and read the images; return the settled configuration too."""
    if not (isinstance(source, Path) and shards_in(source)):
        name = source if isinstance(source, Path) else "This data set"
        splits = read_splits(source) if isinstance(source, Path) else source
        splits = with_products(splits, files, lambda done, of: report(TrainingProgress(0, 0, done, of, 0.0)), note)
        recipe = settle_cut(splits, recipe, files.unfinished, note)
        data = read(splits, recipe, str(name))
    else:
        recipe = settle_cut(source, recipe, files.unfinished, note)
        data = read_shards(source, recipe)
    for warning in data.warnings:
        note(warning)
    return recipe, data


def open_state(data: TrainingData, recipe: TrainingConfig, files: RunFiles) -> tuple[TrainingState, Save]:
    """Create the state or restore that of an interrupted run; return it and the function that saves it.

    A run that was interrupted before the head's checkpoint was complete begins again.
    """
    state = create_state(recipe, data.classes, pick_device(), data.column_sizes)
    identity = data.identity()
    load_state(state, files.unfinished, recipe, identity)
    if state.head and not state.epoch + state.step and not files.head_is_finished:
        state = create_state(recipe, data.classes, pick_device(), data.column_sizes)
    require_same_start(state, identity)
    rank, _ = rank_and_world_size()
    return state, partial(save_state, state, files.unfinished, recipe, identity) if rank == 0 else skip_save


def finish(state: TrainingState, data: TrainingData, recipe: TrainingConfig, files: RunFiles) -> CheckpointInfo:
    """Write the checkpoint with the best weights, and remove the state; only rank 0 writes."""
    state.network.load_state_dict(state.best)
    summary = {"held_out_accuracy": state.best_scores["accuracy"], "head": state.head, "history": state.history}
    info = describe_trained(state.network, files.out.name, data, recipe, summary)
    if rank_and_world_size()[0]:
        return info
    info = checkpoint.save(state.network, info, files.out.parent)
    files.remove_unfinished()
    return info


def start_with_head(
    state: TrainingState,
    data: TrainingData,
    recipe: TrainingConfig,
    files: RunFiles,
    report: Report,
    note: Note,
    save: Save,
) -> None:
    """Train the head, save the state, then write the head's checkpoint."""
    epochs = epochs_for(recipe, len(data.training.labels))
    head = train_head(
        state, data, recipe, files.head.name, lambda done, of: report(TrainingProgress(0, epochs, done, of, 0.0))
    )
    save()
    if not rank_and_world_size()[0]:
        checkpoint.save(state.network, head.info, files.out.parent)
    note(f"Usable now: {files.head}.json. {head}")
    report(TrainingProgress(0, epochs, 1, 1, 0.0, head.scores["accuracy"], precision=head.precision))


def cost_of_rest(state: TrainingState, data: TrainingData, recipe: TrainingConfig) -> Cost:
    """Time a few steps on a copy of the state, and return what the rest of the run takes."""
    epochs, steps = epochs_for(recipe, len(data.training.labels)), steps_per_epoch(data.training, recipe)
    trial = copy.deepcopy(state)
    trial.network.train()
    times = []
    for images, labels in islice(batches(data.training, recipe, 0), TIMED_STEPS + 1):
        began = time.perf_counter()
        train_step(trial, images, labels, recipe)
        times.append(time.perf_counter() - began)
    # The first step allocates memory, so it counts only if it is alone.
    seconds = fmean(times[1:] or times)
    measured = MONITORED + len(data.held_out.labels)
    left = 0 if state.is_finished(epochs, recipe.patience) else epochs - state.epoch
    return Cost(left, steps, seconds, recipe.batch, measured, space_needed(state.network))


def steps_per_epoch(images: ImageSource, recipe: TrainingConfig) -> int:
    """Return the number of whole batches of an epoch, at least one."""
    return max(len(images.labels) // recipe.batch, 1)


def run_epochs(state: TrainingState, data: TrainingData, recipe: TrainingConfig, report: Report, save: Save) -> None:
    """Train until all epochs are done or early stopping; `save` is called wherever a run can resume."""
    epochs = epochs_for(recipe, len(data.training.labels))
    if state.is_finished(epochs, recipe.patience):
        return
    database = data.training.sample(MONITORED, recipe.seed).resized(recipe.size)
    while not state.is_finished(epochs, recipe.patience):
        mean_loss = run_epoch(state, data.training, recipe, epochs, report, save)
        found = from_rank_zero(
            lambda: epoch_scores(state.averaged_network, data.held_out, database, data.measured_classes)
        )
        state.end_epoch(mean_loss, found)
        save()
        steps = steps_per_epoch(data.training, recipe)
        precision, rate = {mode: found[mode] for mode in MODES}, learning_rate(state.epoch / epochs, recipe)
        measured = TrainingProgress(state.epoch, epochs, steps, steps, mean_loss, found["accuracy"], rate, precision)
        report(measured)


def run_epoch(
    state: TrainingState, images: ImageSource, recipe: TrainingConfig, epochs: int, report: Report, save: Save
) -> float:
    """Train the rest of an epoch, in the epoch's own order; return the mean loss."""
    state.network.train()
    for module in eval_mode_modules(state.network, recipe):
        module.eval()
    steps = steps_per_epoch(images, recipe)
    for some, labels in batches(images, recipe, state.epoch, state.step):
        # Dropout uses torch's global generator.
        torch.manual_seed(step_seed(recipe, state.epoch, state.step + 1))
        rate = learning_rate((state.epoch + state.step / steps) / epochs, recipe)
        for group in state.optimizer.param_groups:
            group["lr"] = group["share"] * rate
        loss_now = train_step(state, some, labels, recipe)
        state.step, state.total_loss = state.step + 1, state.total_loss + loss_now
        report(TrainingProgress(state.epoch + 1, epochs, state.step, steps, loss_now, rate=rate))
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
    total = loss(output.float(), activations.float(), labels.to(device), recipe, state.columns)
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
