"""What training changes, and how it survives being stopped.

The whole state goes to disk after every epoch, and within long ones every so many steps, as safetensors, so that the
same command goes on where it was.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.checkpoint.files import load
from models.errors import CheckpointError
from models.network.backbones import BACKBONES
from models.network.latent_hash_net import LatentHashNet
from models.training.config import Recipe
from models.training.devices import average, average_number

Tensors = dict[str, Tensor]


@dataclass
class TrainingState:
    """The network, its averaged copy, the momentum, the best averaged weights so far, and how far an epoch is.

    Attributes:
        step: steps of the present epoch that are over.
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
        """Epochs that are over."""
        return len(self.history)

    def end_epoch(self, loss: float, accuracy: float) -> None:
        """Close an epoch; of equally good ones the later wins."""
        if accuracy >= max((past["accuracy"] for past in self.history), default=0.0):
            self.best = {name: value.clone() for name, value in self.averaged.module.state_dict().items()}
        self.history.append({"loss": loss, "accuracy": accuracy})
        self.step, self.total_loss = 0, 0.0

    def sync_buffers(self) -> None:
        """Give every process the mean of what each gathers of its share: the norms' statistics, and the losses."""
        average([*self.network.buffers(), *self.averaged.module.buffers()])
        self.total_loss = average_number(self.total_loss, next(self.network.parameters()).device)

    def is_finished(self, epochs: int, patience: int) -> bool:
        """Tells whether training has taken all its epochs, or has stopped getting better."""
        scores = [past["accuracy"] for past in self.history]
        since_best = scores[::-1].index(max(scores)) if scores else 0
        return len(scores) >= epochs or since_best >= patience


def create_state(recipe: Recipe, classes: tuple[str, ...], device: torch.device) -> TrainingState:
    """Make the network, from a checkpoint or ImageNet weights if the recipe says so, what is new in it at random.

    Raises:
        CheckpointError: the checkpoint to start from cannot be used.
    """
    torch.manual_seed(recipe.seed)
    preprocess = replace(BACKBONES[recipe.backbone].preprocess, size=recipe.size)
    network = LatentHashNet(recipe.backbone, recipe.bits, len(classes), preprocess)
    if recipe.start is not None:
        _init_from_checkpoint(network, classes, recipe.start)
    elif recipe.imagenet:
        network.load_imagenet()
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in torch's stubs
    averaged = AveragedModel(network, multi_avg_fn=_moving_average(recipe.average), use_buffers=True)
    groups = parameter_groups(network, recipe)
    return TrainingState(network, averaged, torch.optim.SGD(groups, momentum=recipe.momentum))


def parameter_groups(network: LatentHashNet, recipe: Recipe) -> list[dict[str, Any]]:
    """Give new layers the full rate and a backbone that has learnt a tenth; norms and biases do not decay."""
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


def frozen_stages(network: LatentHashNet, recipe: Recipe) -> list[nn.Module]:
    """List the modules that stay as they are: of EfficientNet the stem and the first stages."""
    if recipe.from_scratch or not recipe.frozen or recipe.backbone != "efficientnet_lite0":
        return []
    backbone: Any = network.backbone
    return [backbone.conv_stem, backbone.bn1, *backbone.blocks[: recipe.frozen]]


def eval_mode_modules(network: LatentHashNet, recipe: Recipe) -> list[nn.Module]:
    """List the modules that training runs as searching does: what is frozen, and dropout in a network from scratch.

    Features that have learnt nothing differ little from image to image, less than dropout makes them differ.
    """
    if recipe.from_scratch:
        return [module for module in network.modules() if isinstance(module, nn.Dropout)]
    return frozen_stages(network, recipe)


def trainable_parameters(network: LatentHashNet) -> list[tuple[str, nn.Parameter]]:
    """List the parameters that training moves."""
    return [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]


def save_state(state: TrainingState, path: Path, recipe: Recipe, data: dict[str, Any]) -> None:
    """Write everything that going on needs, atomically; `data` says what was trained on."""
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
    place = {"step": state.step, "total_loss": state.total_loss}
    about = {"recipe": asdict(recipe), "data": data, "history": state.history} | place
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, {"about": json.dumps(about)})
    temporary.replace(path)


def load_state(state: TrainingState, path: Path, recipe: Recipe, data: dict[str, Any]) -> None:
    """Go back to what `save_state` wrote, if it is there.

    Raises:
        CheckpointError: a run with other options or other images left it, or it is damaged.
    """
    if not path.exists():
        return
    try:
        about, parts = _read(path)
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). Delete it to start anew.") from error
    if not _same_recipe(about["recipe"], recipe) or about["data"] != data:
        raise CheckpointError(
            f"{path} was left by a run with other options or images. Repeat that, or delete it to start anew."
        )
    state.network.load_state_dict(parts["network"])
    state.averaged.load_state_dict(parts["averaged"])
    device = next(state.network.parameters()).device
    for name, parameter in trainable_parameters(state.network):
        state.optimizer.state[parameter]["momentum_buffer"] = parts["momentum"][name].to(device)
    state.best, state.history = parts["best"], about["history"]
    # A version that kept whole epochs alone says nothing of steps.
    state.step, state.total_loss = about.get("step", 0), about.get("total_loss", 0.0)


def _init_from_checkpoint(network: LatentHashNet, classes: tuple[str, ...], start: str) -> None:
    """Copie the backbone of a checkpoint, H if it has as many bits, and F8 if it has the same classes too."""
    other, info = load(start)
    if other.backbone_name != network.backbone_name:
        raise CheckpointError(f"{info.name} is a {other.backbone_name}: start from it with --backbone {info.backbone}.")
    network.backbone.load_state_dict(other.backbone.state_dict())
    if info.bits == network.bits:
        network.latent.load_state_dict(other.latent.state_dict())
        if info.classes == classes:
            network.classifier.load_state_dict(other.classifier.state_dict())


def _same_recipe(kept: dict[str, Any], recipe: Recipe) -> bool:
    """Tells whether a run was started by this recipe; choices that it did not know yet are as they come."""
    known = {choice.name for choice in fields(Recipe)}
    return kept.keys() <= known and Recipe(**kept) == recipe


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
        stays = min(decay, (1 + int(count)) / (10 + int(count)))
        for old, new in zip(averaged, current, strict=True):
            if old.is_floating_point():
                old.lerp_(new, 1 - stays)
            else:
                old.copy_(new)

    return update
