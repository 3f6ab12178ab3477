"""Training configuration, stored in the checkpoint."""

from dataclasses import dataclass
from typing import Any

from models.network.cuts import Cut
from models.network.preprocess import Colour
from models.network.registry import find_backbone, is_from_library

# The default number of epochs trains on about this many samples, whatever the size of the data set.
TARGET_SAMPLES = 75_000
MIN_EPOCHS, MAX_EPOCHS = 5, 40
# Test size over crop size, less 1, per area fraction that crops may discard: 1.2 times the crop size for crops of half
# an image or more, as measured; the same size for whole images.
RESIZE_GAIN = 0.4


@dataclass(frozen=True)
class TrainingConfig:
    """Training configuration; the defaults are good. `models/training/train.py` shows where each value is used.

    Attributes:
        backbone: a name of `models.network.registry.find_backbone`.
        bits: units in the latent layer H, a multiple of 8.
        size: input side of the network, in pixels.
        epochs: number of epochs; None for a number that suits the size of the data set.
        batch: images per step, over all processes.
        rate: learning rate of new layers, None for the backbone's default; pretrained layers have a tenth of it.
        weight_decay: weight decay; biases and norms have none.
        label_smoothing: share of the target distributed over the other classes.
        warm_up: share of the run with a linearly rising learning rate.
        average: decay of the moving average of weights.
        least_area: minimum area of a random crop, as a fraction of the image.
        mirror: flip half of the images horizontally; wrong for digits and letters.
        frozen: number of the backbone's first stages that are not trained.
        push: weight of the term that drives activations to 0 or 1 (SSDH, Yang et al. 2018, eq. 3).
        balance: weight of the term that makes half of an image's bits 1 (SSDH, eq. 4).
        patience: epochs without a better held-out accuracy until training stops early.
        imagenet: initialise from published weights, mostly ImageNet's.
        weights: initialise from this file of weights instead.
        start: initialise from this checkpoint instead, by name or path; with H and F8 if their shapes match.
        seed: random seed.
        image_cut: a name of `models.network.cuts.CUTS`; None for that of the backbone's library, or else to choose the
            best on the training images.
        colour: whether colours are converted to sRGB (`Preprocess.colour`).
    """

    backbone: str = "efficientnet_lite0"
    bits: int = 128
    size: int = 192
    epochs: int | None = None
    batch: int = 32
    rate: float | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    warm_up: float = 0.1
    average: float = 0.995
    least_area: float = 0.5
    mirror: bool = True
    frozen: int = 3
    push: float = 0.0
    balance: float = 0.0
    patience: int = 10
    imagenet: bool = True
    weights: str | None = None
    start: str | None = None
    seed: int = 0
    image_cut: Cut | None = None
    colour: Colour = "srgb"

    @property
    def from_scratch(self) -> bool:
        """Whether the backbone is initialised at random."""
        return not self.imagenet and self.start is None and self.weights is None

    @property
    def cut(self) -> int:
        """Side of the random crops in training, in pixels.

        Objects appear larger in a crop than in a whole image, and a network is most accurate if both show them at the
        same size (Touvron et al. 2019).
        """
        return round(self.size / self.resize_ratio)

    @property
    def resize_ratio(self) -> float:
        """Test size over crop size; 1 when training from scratch, and for backbones that take one size only."""
        if self.from_scratch or find_backbone(self.backbone, self.size).fixed_size:
            return 1.0
        return 1 + RESIZE_GAIN * (1 - self.least_area)


def training_config(options: dict[str, Any]) -> TrainingConfig:
    """Return a configuration with these values; a library's backbone has the size of its published weights by default.

    Raises:
        ConfigError: the backbone is unknown.
    """
    backbone = options.get("backbone", TrainingConfig.backbone)
    own = {"size": find_backbone(backbone).preprocess.size} if is_from_library(backbone) else {}
    return TrainingConfig(**(own | options))


def epochs_for(recipe: TrainingConfig, images: int) -> int:
    """Return the number of epochs for a data set of a size."""
    if recipe.epochs is not None:
        return recipe.epochs
    return min(max(round(TARGET_SAMPLES / max(images, 1)), MIN_EPOCHS), MAX_EPOCHS)
