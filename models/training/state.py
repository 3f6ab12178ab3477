"""Training state: creation, and saving and resuming an interrupted run.

The whole state is saved as safetensors after every epoch, and within long epochs after a number of steps, so that the
same command resumes the run.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.checkpoint.files import load
from models.errors import CheckpointError
from models.network.latent_hash_net import LatentHashNet
from models.network.registry import new_preprocess
from models.training.config import TrainingConfig
from models.training.devices import average, average_number
from models.training.start import load_start

Tensors = dict[str, Tensor]
# What runs did whose saved recipe lacks these fields.
_OLDER: dict[str, Any] = {"image_cut": "stretch", "colour": "ignore"}


@dataclass
class TrainingState:
    """Network, averaged weights, optimiser, best averaged weights so far, and position in the epoch.

    Attributes:
        step: completed steps of the current epoch.
        total_loss: the sum of their losses.
    """

    network: LatentHashNet
    averaged: AveragedModel
    optimizer: torch.optim.SGD
    best: Tensors = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    step: int = 0
    total_loss: float = 0.0

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return len(self.history)

    def end_epoch(self, loss: float, accuracy: float) -> None:
        """Record an epoch, and keep its weights if none is better; of equal ones the last wins."""
        if accuracy >= max((past["accuracy"] for past in self.history), default=0.0):
            self.best = {name: value.clone() for name, value in self.averaged.module.state_dict().items()}
        self.history.append({"loss": loss, "accuracy": accuracy})
        self.step, self.total_loss = 0, 0.0

    def sync_buffers(self) -> None:
        """Average over all processes what each accumulates on its own: norm statistics and losses."""
        average([*self.network.buffers(), *self.averaged.module.buffers()])
        self.total_loss = average_number(self.total_loss, next(self.network.parameters()).device)

    def is_finished(self, epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or accuracy stopped improving."""
        scores = [past["accuracy"] for past in self.history]
        since_best = scores[::-1].index(max(scores)) if scores else 0
        return len(scores) >= epochs or since_best >= patience


def create_state(recipe: TrainingConfig, classes: tuple[str, ...], device: torch.device) -> TrainingState:
    """Create network and optimiser, initialised as `initial_network` is.

    Raises:
        CheckpointError: the checkpoint to initialise from cannot be used.
        WeightsError: the file of weights cannot be used.
    """
    network = initial_network(recipe, classes)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # a documented call of Module.to that torch's stubs do not declare
    averaged = AveragedModel(network, multi_avg_fn=_moving_average(recipe.average), use_buffers=True)
    groups = parameter_groups(network, recipe)
    return TrainingState(network, averaged, torch.optim.SGD(groups, momentum=recipe.momentum))


def initial_network(recipe: TrainingConfig, classes: tuple[str, ...]) -> LatentHashNet:
    """Create a network, initialised from a checkpoint, a file of weights, published weights or at random.

    Raises:
        CheckpointError: the checkpoint to initialise from cannot be used.
        WeightsError: the file of weights cannot be used.
    """
    torch.manual_seed(recipe.seed)
    network = LatentHashNet(
        recipe.backbone,
        recipe.bits,
        len(classes),
        new_preprocess(recipe.backbone, recipe.size, recipe.image_cut, recipe.colour),
    )
    if recipe.start is not None:
        _init_from_checkpoint(network, classes, recipe.start)
    else:
        load_start(network, recipe.weights, published=recipe.imagenet)
    return network


def parameter_groups(network: LatentHashNet, recipe: TrainingConfig) -> list[dict[str, Any]]:
    """Group parameters: new layers have the full rate, pretrained ones a tenth; norms and biases do not decay."""
    for stage in frozen_stages(network, recipe):
        stage.requires_grad_(requires_grad=False)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trainable_parameters(network):
        share = 0.1 if name.startswith("backbone.") and not recipe.from_scratch else 1.0
        decay = recipe.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((share, decay), []).append(parameter)
    return [
        {"params": parameters, "share": share, "weight_decay": decay} for (share, decay), parameters in groups.items()
    ]


def frozen_stages(network: LatentHashNet, recipe: TrainingConfig) -> list[nn.Module]:
    """List the modules that are not trained: the stem and the first stages of timm's EfficientNets and MobileNets."""
    backbone: Any = network.backbone
    stem = [getattr(backbone, name, None) for name in ("conv_stem", "bn1")]
    if recipe.from_scratch or not recipe.frozen or None in stem:
        return []
    return [*stem, *backbone.blocks[: recipe.frozen]]


def eval_mode_modules(network: LatentHashNet, recipe: TrainingConfig) -> list[nn.Module]:
    """List the modules that stay in evaluation mode: frozen stages, and dropout when training from scratch.

    Untrained features differ less from image to image than dropout would make them differ.
    """
    if recipe.from_scratch:
        return [module for module in network.modules() if isinstance(module, nn.Dropout)]
    return frozen_stages(network, recipe)


def trainable_parameters(network: LatentHashNet) -> list[tuple[str, nn.Parameter]]:
    """List the parameters that are trained."""
    return [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]


def save_state(state: TrainingState, path: Path, recipe: TrainingConfig, data: dict[str, Any]) -> None:
    """Write the training state atomically; `data` identifies the training data.

    Raises:
        CheckpointError: it cannot be written; the last saved state is kept.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    momentum = {
        name: state.optimizer.state[parameter]["momentum_buffer"]
        for name, parameter in trainable_parameters(state.network)
    }
    parts = {
        "network": state.network.state_dict(),
        "averaged": state.averaged.state_dict(),
        "best": state.best,
        "momentum": momentum,
    }
    tensors = {f"{part}/{name}": value.contiguous() for part, named in parts.items() for name, value in named.items()}
    position = {"step": state.step, "total_loss": state.total_loss}
    about = {"recipe": asdict(recipe), "data": data, "history": state.history} | position
    temporary = path.with_suffix(".tmp")
    try:
        save_file(tensors, temporary, {"about": json.dumps(about)})
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"The training state {path} could not be written: {error}. Free space, and run the same command again to "
            "continue from the last saved state."
        ) from error


def load_state(state: TrainingState, path: Path, recipe: TrainingConfig, data: dict[str, Any]) -> None:
    """Restore the state that `save_state` wrote, if it exists.

    Raises:
        CheckpointError: it belongs to a run with other options or images, or it is damaged.
    """
    if not path.exists():
        return
    try:
        about, parts = _read(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it to start again.") from error
    if not _same_recipe(about["recipe"], recipe) or about["data"] != data:
        raise CheckpointError(
            f"{path} belongs to a run with other options or images. Use those, or delete it to start again."
        )
    state.network.load_state_dict(parts["network"])
    state.averaged.load_state_dict(parts["averaged"])
    device = next(state.network.parameters()).device
    for name, parameter in trainable_parameters(state.network):
        state.optimizer.state[parameter]["momentum_buffer"] = parts["momentum"][name].to(device)
    state.best, state.history = parts["best"], about["history"]
    # Older versions saved after whole epochs only, without these fields.
    state.step, state.total_loss = about.get("step", 0), about.get("total_loss", 0.0)


def settled_preprocess(path: Path) -> dict[str, Any]:
    """Return the cut and colours of an interrupted run; those of older versions had neither field.

    Raises:
        CheckpointError: the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            saved = json.loads(file.metadata()["about"])["recipe"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it to start again.") from error
    return {name: saved.get(name, older) for name, older in _OLDER.items()}


def _init_from_checkpoint(network: LatentHashNet, classes: tuple[str, ...], start: str) -> None:
    """Copy a checkpoint's backbone, H if it has the same number of bits, and F8 if the classes match too."""
    other, info = load(start)
    if info.quantisation is not None:
        raise CheckpointError(
            f"{info.name} is quantised ({info.precision}) and has no weights to train. Start from "
            f"{info.quantisation.source}, which it was made from."
        )
    if other.backbone_name != network.backbone_name:
        raise CheckpointError(
            f"{info.name} has the backbone {other.backbone_name}. Use --backbone {info.backbone} to start from it."
        )
    network.load_backbone(other.backbone.state_dict(), info.name)
    if info.bits == network.bits:
        network.latent.load_state_dict(other.latent.state_dict())
        if info.classes == classes:
            network.classifier.load_state_dict(other.classifier.state_dict())


def _same_recipe(saved: dict[str, Any], recipe: TrainingConfig) -> bool:
    """Compare a saved recipe with this one; fields that an older version did not have count as defaults.

    Cut and colours are taken from the saved recipe, unless the user chose others.
    """
    known = {choice.name for choice in fields(TrainingConfig)}
    return saved.keys() <= known and TrainingConfig(**(_OLDER | saved)) == recipe


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensors]]:
    parts: dict[str, Tensors] = {"network": {}, "averaged": {}, "best": {}, "momentum": {}}
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        names = file.keys()
        for name in names:
            part, _, rest = name.partition("/")
            parts[part][rest] = file.get_tensor(name)
    return about, parts


def _moving_average(decay: float) -> Callable[[Any, Any, Any], None]:
    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        weight = min(decay, (1 + int(count)) / (10 + int(count)))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - weight)
            else:
                old.copy_(new)

    return update
