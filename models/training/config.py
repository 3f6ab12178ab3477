"""How to train: every choice in one place, stored in the checkpoint that comes of it."""

from dataclasses import dataclass

# Enough steps for the rates to do their work, however few or many images there are.
TARGET_SAMPLES = 75_000
MIN_EPOCHS, MAX_EPOCHS = 5, 40
# How much larger than its cuts an image is read whole, for each share of it that a cut may leave out: 1.2 times as
# large where cuts keep half of an image or more, as measured; equally large where they keep everything.
RESIZE_GAIN = 0.4


@dataclass(frozen=True)
class Recipe:
    """A recipe that is good as it stands; see `models/training/train.py` for where each number is used.

    Attributes:
        backbone: a name of `models.network.backbones.BACKBONES`.
        bits: units in the latent layer H, a multiple of 8.
        size: side of the images that the network reads, in pixels.
        epochs: passes over the images; None for as many as their number asks for.
        batch: images a step, over all processes.
        rate: learning rate of the new layers, None for what suits the backbone; the old ones learn at a tenth of it.
        weight_decay: of weights; biases and norms do not decay.
        label_smoothing: share of the target that goes to the other classes.
        warm_up: share of the run in which the rate rises.
        average: how much of the averaged weights stays at each step.
        least_area: the smallest share of an image that a random cut keeps.
        mirror: show half of the images mirrored; wrong for digits and letters.
        frozen: how many of the backbone's first stages stay as ImageNet left them.
        push: weight of the term that drives activations to 0 or 1 (SSDH, Yang et al. 2018, eq. 3).
        balance: weight of the term that makes each bit 1 for half of the images (SSDH, eq. 4).
        patience: epochs without a better accuracy on held-out images after which training ends.
        imagenet: start from ImageNet weights.
        start: a checkpoint to start from in their place, by name or path; H and F8 are its own too where they fit.
        seed: where all randomness starts.
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
    start: str | None = None
    seed: int = 0

    @property
    def from_scratch(self) -> bool:
        """Whether the backbone has learnt nothing yet."""
        return not self.imagenet and self.start is None

    @property
    def cut(self) -> int:
        """Side of the random cuts that training reads.

        A cut shows things larger than a whole image does, and a network is at its best where both show them at the
        same size (Touvron et al. 2019).
        """
        return round(self.size / self.resize_ratio)

    @property
    def resize_ratio(self) -> float:
        """How many times as large as its cuts an image is read whole: no larger by what learns sizes from scratch."""
        return 1.0 if self.from_scratch else 1 + RESIZE_GAIN * (1 - self.least_area)


def epochs_for(recipe: Recipe, images: int) -> int:
    """Return how many passes to take over so many images."""
    if recipe.epochs is not None:
        return recipe.epochs
    return min(max(round(TARGET_SAMPLES / max(images, 1)), MIN_EPOCHS), MAX_EPOCHS)
