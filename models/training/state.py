"""Training state: creation, and saving and resuming an interrupted run.

It is saved as safetensors after every epoch, and in long ones after some steps, so that the same command resumes.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from models.errors import CheckpointError
from models.network.latent_hash_net import LatentHashNet
from models.training.config import TrainingConfig
from models.training.devices import average, average_number
from models.training.start import initial_network

Tensors = dict[str, Tensor]
# What runs did whose saved recipe lacks these fields.
_OLDER: dict[str, Any] = {"image_cut": "stretch", "colour": "ignore"}


@dataclass
class TrainingState:
    """Network, averaged weights, optimiser, best averaged weights so far, and position in the epoch.

    Attributes:
        best: the weights with the best precision on held-out images, of the head or after an epoch.
        head: held-out scores of the head on frozen F7; empty before it is trained, and without one.
        history: loss and held-out scores of each completed epoch.
        step: completed steps of the current epoch.
        total_loss: the sum of their losses.
        columns: number of F8's units of each column of labels; empty for a single column.
    """

    network: LatentHashNet
    averaged: AveragedModel
    optimizer: torch.optim.SGD
    best: Tensors = field(default_factory=dict)
    head: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    step: int = 0
    total_loss: float = 0.0
    columns: tuple[int, ...] = ()

    @property
    def epoch(self) -> int:
        """Number of completed epochs."""
        return len(self.history)

    @property
    def position(self) -> tuple[int, int]:
        """Completed epochs, and steps of the current one; −1, 0 for a run that has not begun."""
        return (self.epoch, self.step) if self.head or self.history or self.step else (-1, 0)

    @property
    def best_scores(self) -> dict[str, float]:
        """The scores of the best weights."""
        scores = self.ranked_scores
        past = ([self.head] if self.head else []) + self.history
        return past[len(scores) - 1 - scores[::-1].index(max(scores))]

    @property
    def ranked_scores(self) -> list[float]:
        """What the best weights are chosen by, of the head, if there is one, and of every epoch.

        It is the precision@10 of HDS. Runs that versions before 0.9 started have the accuracy of F8 alone.
        """
        measure = "hds" if all("hds" in past for past in self.history) else "accuracy"
        return [past[measure] for past in ([self.head] if self.head else []) + self.history]

    @property
    def averaged_network(self) -> LatentHashNet:
        """The network with the averaged weights."""
        return cast("LatentHashNet", self.averaged.module)

    def end_head(self, scores: dict[str, float]) -> None:
        """Record the trained head, from which averaging and fine-tuning start."""
        self.head = scores
        self.averaged.module.load_state_dict(self.network.state_dict())
        self._keep()

    def end_epoch(self, loss: float, scores: dict[str, float]) -> None:
        """Record an epoch, and keep its weights if none is better; of equal ones the last wins."""
        self.history.append({"loss": loss, **scores})
        self.step, self.total_loss = 0, 0.0
        if self.ranked_scores[-1] >= max(self.ranked_scores):
            self._keep()

    def _keep(self) -> None:
        self.best = {name: value.clone() for name, value in self.averaged.module.state_dict().items()}

    def sync_buffers(self) -> None:
        """Average over all processes what each accumulates on its own: norm statistics and losses."""
        average([*self.network.buffers(), *self.averaged.module.buffers()])
        self.total_loss = average_number(self.total_loss, next(self.network.parameters()).device)

    def is_finished(self, epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or the score stopped improving."""
        scores = self.ranked_scores
        since_best = scores[::-1].index(max(scores)) if scores else 0
        return self.epoch >= epochs or since_best >= patience


def create_state(
    recipe: TrainingConfig, classes: tuple[str, ...], device: torch.device, columns: tuple[int, ...] = ()
) -> TrainingState:
    """Create network and optimiser, initialised as `initial_network` is.

    Raises:
        CheckpointError: the checkpoint to initialise from cannot be used.
        WeightsError: the file of weights cannot be used.
    """
    network = initial_network(recipe, classes)
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # a documented call of Module.to that torch's stubs do not declare
    averaged = AveragedModel(network, multi_avg_fn=_moving_average(recipe.average), use_buffers=True)
    groups = parameter_groups(network, recipe)
    return TrainingState(network, averaged, torch.optim.SGD(groups, momentum=recipe.momentum), columns=columns)


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
        if parameter in state.optimizer.state  # not before the first step
    }
    parts = {
        "network": state.network.state_dict(),
        "averaged": state.averaged.state_dict(),
        "best": state.best,
        "momentum": momentum,
    }
    tensors = {f"{part}/{name}": value.contiguous() for part, named in parts.items() for name, value in named.items()}
    position = {"step": state.step, "total_loss": state.total_loss, "head": state.head}
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
        if name in parts["momentum"]:
            state.optimizer.state[parameter]["momentum_buffer"] = parts["momentum"][name].to(device)
    state.best, state.history = parts["best"], about["history"]
    # Older versions saved after whole epochs only, without these fields.
    state.step, state.total_loss = about.get("step", 0), about.get("total_loss", 0.0)
    state.head = about.get("head", {})


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
