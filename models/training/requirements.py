"""What training needs and takes, checked before the work."""

import json
import math
import resource
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from models.errors import CheckpointError, ConfigError, DatasetError
from models.network.registry import find_backbone
from models.training.config import TrainingConfig
from models.training.devices import equal_on_all_ranks
from models.training.progress import LOG_SUFFIX
from models.training.state import TrainingState


@dataclass(frozen=True)
class RunFiles:
    """Files of a run, by the path `out` of its checkpoint, without suffix."""

    out: Path

    @property
    def head(self) -> Path:
        """Path of the head's checkpoint, without suffix."""
        return self.out.with_name(f"{self.out.name}-head")

    @property
    def unfinished(self) -> Path:
        """The saved state of an interrupted run."""
        return self.out.with_name(f"{self.out.name}.unfinished.safetensors")

    @property
    def log(self) -> Path:
        """The log, which stays beside the checkpoint."""
        return self.out.with_name(f"{self.out.name}{LOG_SUFFIX}")

    @property
    def products(self) -> Path:
        """Which images an interrupted run found to show one product."""
        return self.out.with_name(f"{self.out.name}.products.json")

    @property
    def head_is_finished(self) -> bool:
        """Whether the head's checkpoint is complete."""
        return Path(f"{self.head}.json").exists()

    def remove_unfinished(self) -> None:
        """Remove what only an interrupted run needs."""
        for path in (self.unfinished, self.products):
            path.unlink(missing_ok=True)

    def require_new(self) -> None:
        """Check that the run overwrites no finished checkpoint.

        Raises:
            CheckpointError: the head of another run is there.
        """
        if self.head_is_finished and not self.unfinished.exists():
            raise CheckpointError(
                f"{self.head} is a finished checkpoint that a catalogue may use. Choose another path with --out, or "
                f"delete {self.head}.json and {self.head}.safetensors if they are not needed."
            )


_MINUTE_S, _HOUR_S = 60, 3600
# The checkpoint's float16 weights, and as much as a margin.
FIT_BYTES_PER_WEIGHT = 4


def require_size(recipe: TrainingConfig) -> None:
    """Check before decoding that there is such a backbone, and that it accepts the sizes of images and training crops.

    Raises:
        ConfigError: there is none, or they are too small.
    """
    smallest = find_backbone(recipe.backbone, recipe.size).min_image_size
    find_backbone(recipe.backbone, recipe.cut)
    if recipe.cut < smallest:
        raise ConfigError(
            f"Image size {recipe.size}: crops have {recipe.cut} pixels, and {recipe.backbone} needs {smallest}. "
            f"Use --image-size {math.ceil(smallest * recipe.resize_ratio)} or more."
        )


def space_needed(network: nn.Module) -> int:
    """Return the bytes on disk of a run: the state, while the next one is written, and two checkpoints.

    The state has weights, averages, best weights and momentum as float32, a checkpoint float16 weights.
    """
    return sum(weight.numel() for weight in network.parameters()) * (2 * 16 + 2 * 2)


def require_space(out: Path, needed: int) -> None:
    """Check before the work that the output folder is writable and has space.

    Args:
        out: path of the new checkpoint.
        needed: bytes of the checkpoint, and of the training state if there is one.

    Raises:
        DatasetError: it is not writable, or has less space.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
    except OSError as error:
        raise DatasetError(f"{out.parent} is not writable: {error}") from error
    if free < needed:
        raise DatasetError(
            f"{out.parent} has {free:,} bytes free, but {out.name} needs {needed:,}. Free space, or change --out."
        )


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


@dataclass(frozen=True)
class Cost:
    """What the rest of a run takes.

    Attributes:
        epochs: epochs left.
        steps: steps of an epoch.
        seconds: measured time of a step.
        batch: images per step.
        measured: images that the network encodes after an epoch.
        disk: bytes on disk.
    """

    epochs: int
    steps: int
    seconds: float
    batch: int
    measured: int
    disk: int

    @property
    def total_seconds(self) -> float:
        """Time of the rest, if it does not end early. Encoding an image takes a third of training on it."""
        return self.epochs * (self.steps + self.measured / self.batch / 3) * self.seconds

    def __str__(self) -> str:
        """Describe the cost for the user."""
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return (
            f"Fine-tuning takes at most {duration(self.total_seconds)} here ({self.epochs} epochs of {self.steps:,} "
            f"steps, {self.seconds:.2f} s each), {memory / 1e9:.1f} GB of memory and {self.disk / 1e6:,.0f} MB of "
            "disk. It ends early if precision on held-out images stops improving."
        )


def duration(seconds: float) -> str:
    """Describe a time: `40 s`, `12 min`, `3.5 h`. The next unit begins at one and a half of it."""
    if seconds < 1.5 * _MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < 1.5 * _HOUR_S else f"{seconds / _HOUR_S:.1f} h"
