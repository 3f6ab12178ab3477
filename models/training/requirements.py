"""What training needs, checked before the work."""

import math
import shutil
from pathlib import Path

from models.errors import ConfigError, DatasetError
from models.network.backbones import BACKBONES
from models.training.config import TrainingConfig


def require_size(recipe: TrainingConfig) -> None:
    """Check before decoding that the backbone accepts the size of the training crops.

    Raises:
        ConfigError: they are too small.
    """
    smallest = BACKBONES[recipe.backbone].min_image_size if recipe.backbone in BACKBONES else 0
    if recipe.cut < smallest:
        raise ConfigError(
            f"Image size {recipe.size}: crops have {recipe.cut} pixels, and {recipe.backbone} needs {smallest}. "
            f"Use --image-size {math.ceil(smallest * recipe.resize_ratio)} or more."
        )


def require_space(out: Path, needed: int) -> None:
    """Check before the work that the output folder is writable and has space.

    Raises:
        DatasetError: there is not enough space for the checkpoint and the training state.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(out.parent).free
    except OSError as error:
        raise DatasetError(f"{out.parent} is not writable: {error}") from error
    if free < needed:
        raise DatasetError(
            f"{out.parent} has {free:,} bytes free, but training needs {needed:,}. Free space, or change --out."
        )
