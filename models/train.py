"""Fine-tunes a network on a folder of labelled folders: class labels alone make the codes.

Run it as `lookalike train DIR` or `python -m models.train DIR`. After every epoch the whole state is on disk
beside the checkpoint to be, so the same command goes on where an interrupted one stopped, to the same result:
every epoch draws its randomness from its own seed.

The recipe follows the paper's section 3.2 (SGD with momentum, softmax loss on F8 over H, new layers faster than
old ones) with what fine-tuning has learnt since: warm-up and cosine rates, label smoothing, averaged weights,
early layers left as they are.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models import checkpoint
from models.augment import augment
from models.backbones import BACKBONES
from models.checkpoint import CheckpointInfo
from models.dataset import TRAIN, VALIDATION, LabelledFiles, Loaded, hold_out, load_pictures, read_splits
from models.errors import CheckpointError
from models.metrics import accuracy
from models.network import LatentHashNet


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        backbone: a name of `models.backbones.BACKBONES`.
        bits: units in the latent layer.
        size: side of the pictures, in pixels.
        epochs: passes over the training pictures.
        batch: pictures a step.
        rate: learning rate of the new layers; the old ones learn at a tenth of it.
        frozen: how many of the backbone's first stages stay as ImageNet left them.
        seed: where all randomness starts.
    """

    backbone: str = "efficientnet_lite0"
    bits: int = 128
    size: int = 160
    epochs: int = 24
    batch: int = 32
    rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    warm_up: float = 0.1
    average: float = 0.995
    frozen: int = 3
    imagenet: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Progress:
    """Where training stands: after `step` of `steps` in `epoch` of `epochs`; accuracy once an epoch is over."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None = None


Report = Callable[[Progress], None]


def silent(_progress: Progress) -> None:
    """Reports nothing."""


@dataclass
class State:
    """What training changes: the network, its averaged copy, and the momentum."""

    network: LatentHashNet
    averaged: AveragedModel
    optimizer: torch.optim.SGD
    epoch: int = 0
    history: list[dict[str, float]] = field(default_factory=list)


def train(folder: Path, out: Path, recipe: Recipe, report: Report = silent) -> CheckpointInfo:
    """Trains on `folder` and writes the checkpoint `out` (a path without suffix).

    Raises:
        DatasetError: the folder cannot be used.
        CheckpointError: what an interrupted run left belongs to another recipe.
    """
    training, validation = split(folder, recipe.seed)
    pictures, judges = load_both(training, validation, recipe.size)
    state = start(recipe, len(training.classes))
    unfinished = out.with_name(f"{out.name}.unfinished.safetensors")
    resume(state, unfinished, recipe)
    while state.epoch < recipe.epochs:
        loss = run_epoch(state, pictures, recipe, report)
        score = accuracy(logits(state.averaged.module, judges.pictures), judges.labels)
        state.epoch += 1
        state.history.append({"loss": loss, "accuracy": score})
        keep(state, unfinished, recipe)
        report(Progress(state.epoch, recipe.epochs, 0, 0, loss, score))
    info = finish(state, out, recipe, training)
    unfinished.unlink(missing_ok=True)
    return info


def split(folder: Path, seed: int) -> tuple[LabelledFiles, LabelledFiles]:
    """Returns what to train on and what to judge by: `validation` where there is one, else a held-out tenth."""
    splits = read_splits(folder)
    if VALIDATION in splits:
        return splits[TRAIN], splits[VALIDATION]
    return hold_out(splits[TRAIN], share=0.1, seed=seed)


def load_both(training: LabelledFiles, validation: LabelledFiles, size: int) -> tuple[Loaded, Loaded]:
    """Decodes both splits; training pictures a little larger than the network reads, to cut from."""
    prepare = BACKBONES["efficientnet_lite0"].preprocess
    larger, exact = replace(prepare, size=round(size * 1.25)), replace(prepare, size=size)
    return load_pictures(training, larger), load_pictures(validation, exact)


def start(recipe: Recipe, classes: int) -> State:
    """Makes the network, from ImageNet weights if the recipe says so, with H and F8 at random."""
    torch.manual_seed(recipe.seed)
    preprocess = replace(BACKBONES[recipe.backbone].preprocess, size=recipe.size)
    network = LatentHashNet(recipe.backbone, recipe.bits, classes, preprocess)
    if recipe.imagenet:
        network.load_imagenet()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    averaged = AveragedModel(network, multi_avg_fn=_average(recipe.average), use_buffers=True)
    return State(network, averaged, torch.optim.SGD(parameter_groups(network, recipe), recipe.rate))


def parameter_groups(network: LatentHashNet, recipe: Recipe) -> list[dict[str, Any]]:
    """Gives the new layers the full rate and the backbone a tenth; norms and biases do not decay."""
    for stage in frozen_stages(network, recipe):
        stage.requires_grad_(requires_grad=False)
    groups: list[dict[str, Any]] = []
    for old in (True, False):
        named = [(n, p) for n, p in network.named_parameters() if p.requires_grad and n.startswith("backbone.") == old]
        for decay in (True, False):
            chosen = [p for _, p in named if (p.ndim > 1) == decay]
            share, weight_decay = (0.1 if old else 1.0), (recipe.weight_decay if decay else 0.0)
            groups.append({"params": chosen, "share": share, "weight_decay": weight_decay, "momentum": recipe.momentum})
    return groups


def frozen_stages(network: LatentHashNet, recipe: Recipe) -> list[nn.Module]:
    """Lists the modules that stay as they are: the stem and the first stages."""
    if not recipe.imagenet or not recipe.frozen or recipe.backbone != "efficientnet_lite0":
        return []
    backbone: Any = network.backbone
    return [backbone.conv_stem, backbone.bn1, *backbone.blocks[: recipe.frozen]]


def run_epoch(state: State, loaded: Loaded, recipe: Recipe, report: Report) -> float:
    """Takes one pass over the pictures in an order of the epoch's own; returns the mean loss."""
    state.network.train()
    for stage in frozen_stages(state.network, recipe):
        stage.eval()
    losses: list[float] = []
    steps = len(loaded.labels) // recipe.batch or 1
    for step, (pictures, labels) in enumerate(batches(loaded, recipe, state.epoch)):
        for group in state.optimizer.param_groups:
            group["lr"] = group["share"] * rate((state.epoch + step / steps) / recipe.epochs, recipe)
        losses.append(take_step(state, pictures, labels, recipe))
        report(Progress(state.epoch + 1, recipe.epochs, step + 1, steps, losses[-1]))
    return float(np.mean(losses))


def batches(loaded: Loaded, recipe: Recipe, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yields augmented batches `(b, size, size, 3)` and labels `(b,)`, the last short one left out."""
    generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)
    order = torch.randperm(len(loaded.labels), generator=generator).numpy()
    whole = max(len(order) // recipe.batch * recipe.batch, min(len(order), recipe.batch))
    for first in range(0, whole, recipe.batch):
        chosen = order[first : first + recipe.batch]
        pictures = torch.from_numpy(loaded.pictures[chosen])
        yield augment(pictures, recipe.size, generator), torch.from_numpy(loaded.labels[chosen])


def take_step(state: State, pictures: Tensor, labels: Tensor, recipe: Recipe) -> float:
    """Moves the weights once, and their average after them."""
    output, _ = state.network(pictures)
    loss = nn.functional.cross_entropy(output, labels, label_smoothing=recipe.label_smoothing)
    state.optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
    state.optimizer.step()
    state.averaged.update_parameters(state.network)
    return float(loss.detach())


def rate(done: float, recipe: Recipe) -> float:
    """Returns the new layers' learning rate at a share of the run: a linear rise, then a cosine to zero."""
    if done < recipe.warm_up:
        return recipe.rate * (done / recipe.warm_up + 0.01)
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * (done - recipe.warm_up) / (1 - recipe.warm_up)))


@torch.inference_mode()
def logits(network: nn.Module, pictures: np.typing.NDArray[np.uint8]) -> np.typing.NDArray[np.float32]:
    """Returns F8 `(n, classes)` of `(n, size, size, 3)` uint8."""
    network.eval()
    parts = [network(torch.from_numpy(pictures[i : i + 64]))[0] for i in range(0, len(pictures), 64)]
    return torch.cat(parts).numpy()


def finish(state: State, out: Path, recipe: Recipe, training: LabelledFiles) -> CheckpointInfo:
    """Writes the averaged network as a checkpoint."""
    info = checkpoint.describe(state.network, out.name, training.classes)
    told = {"recipe": asdict(recipe), "pictures": len(training), "history": state.history}
    averaged: Any = state.averaged.module
    return checkpoint.save(averaged, replace(info, training=told), out.parent)


def keep(state: State, path: Path, recipe: Recipe) -> None:
    """Writes everything that going on needs, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"network.{n}": v for n, v in state.network.state_dict().items()}
    tensors |= {f"averaged.{n}": v for n, v in state.averaged.state_dict().items()}
    tensors |= {f"momentum.{n}": state.optimizer.state[p]["momentum_buffer"] for n, p in _moving(state)}
    about = {"recipe": asdict(recipe), "epoch": state.epoch, "history": state.history}
    temporary = path.with_suffix(".tmp")
    save_file({n: v.contiguous() for n, v in tensors.items()}, temporary, {"about": json.dumps(about)})
    temporary.replace(path)


def resume(state: State, path: Path, recipe: Recipe) -> None:
    """Goes back to what `keep` wrote, if it is there."""
    if not path.exists():
        return
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        if about["recipe"] != asdict(recipe):
            raise CheckpointError(
                f"{path} was left by a run with other options. Repeat those, or delete it to start anew."
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safetensors' files are no dicts
    state.network.load_state_dict(_part(tensors, "network."))
    state.averaged.load_state_dict(_part(tensors, "averaged."))
    for name, parameter in _moving(state):
        state.optimizer.state[parameter]["momentum_buffer"] = tensors[f"momentum.{name}"]
    state.epoch, state.history = about["epoch"], about["history"]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _moving(state: State) -> list[tuple[str, nn.Parameter]]:
    return [(name, parameter) for name, parameter in state.network.named_parameters() if parameter.requires_grad]


def _average(decay: float) -> Callable[[Any, Any, Any], None]:
    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        keep_share = min(decay, (1 + int(count)) / (10 + int(count)))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - keep_share)
            else:
                old.copy_(new)

    return update
