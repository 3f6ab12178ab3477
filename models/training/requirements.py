"""What training needs, checked before the work."""

import math
import shutil
from pathlib import Path

from models.errors import ConfigError, DatasetError
from models.network.registry import find_backbone
from models.training.config import TrainingConfig

# The checkpoint's float16 weights, and as much as a margin.
FIT_BYTES_PER_WEIGHT = 4
# Saved state: weights, averages, best weights and momentum as float32; plus the checkpoint's float16 weights.
TRAIN_BYTES_PER_WEIGHT = 18


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
