"""The paper's network: a backbone, the latent layer H, and the class layer F8 on top of H.

Lin, Yang, Hsiao, Chen: Deep Learning of Binary Hash Codes for Fast Image Retrieval, CVPR Workshops 2015,
sections 3.1 and 3.2. Training needs class labels only; searching needs H (the code) and F7 (the fine ranking).
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from models.checkpoint.info import FeatureNorm
from models.errors import ConfigError
from models.network.libraries.weights_file import fit_weights, read_weights_file
from models.network.preprocess import Preprocess
from models.network.registry import find_backbone


class LatentHashNet(nn.Module):
    """Backbone → F7 → H (sigmoid) → F8.

    The input is images as bytes, `(n, *Preprocess.shape)` uint8; normalisation is part of the network.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str,
        bits: int,
        classes: int,
        preprocess: Preprocess,
        feature_norm: FeatureNorm = "raw",
    ) -> None:
        super().__init__()
        if bits < 1 or bits % 8:
            raise ConfigError(f"{bits} bits: the number of bits must be a multiple of 8.")
        layers = find_backbone(backbone, preprocess.size)
        if preprocess.size < layers.min_image_size:
            raise ConfigError(f"Image size {preprocess.size}: {backbone} needs {layers.min_image_size} pixels or more.")
        self.backbone_name, self.bits, self.classes = backbone, bits, classes
        self.preprocess, self.feature_norm = preprocess, feature_norm
        self.feature_dim = layers.feature_dim
        self.backbone = layers.build()
        self.latent = nn.Linear(self.feature_dim, bits)
        # A network trained without labels has no F8.
        self.classifier = nn.Linear(bits, classes) if classes else nn.Identity()
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(1, 3, 1, 1), persistent=False)

    def load_imagenet(self) -> None:
        """Initialise the backbone from its published weights, mostly ImageNet's (section 3.1).

        Raises:
            WeightsUnavailableError: they are neither installed nor downloadable.
        """
        self.backbone.load_state_dict(find_backbone(self.backbone_name, self.preprocess.size).imagenet())

    def load_weights_file(self, path: Path) -> None:
        """Initialise the backbone from a file of weights.

        Raises:
            WeightsError: it cannot be read without running code, or does not fit the backbone.
        """
        self.load_backbone(read_weights_file(path), str(path))

    def load_backbone(self, state: dict[str, Tensor], source: str) -> None:
        """Initialise the backbone from weights of the same layers, also for another input size.

        Args:
            state: the weights.
            source: where they come from, for messages.

        Raises:
            WeightsError: they do not fit.
        """
        layers = find_backbone(self.backbone_name, self.preprocess.size)
        self.backbone.load_state_dict(fit_weights(layers, self.backbone, state, source))

    def with_preprocess(self, preprocess: Preprocess) -> "LatentHashNet":
        """Return a network with the same weights and another preprocessing, in evaluation mode.

        Raises:
            ConfigError: the backbone does not take its size.
        """
        other = LatentHashNet(self.backbone_name, self.bits, self.classes, preprocess, self.feature_norm)
        other.load_backbone(self.backbone.state_dict(), self.backbone_name)
        other.latent.load_state_dict(self.latent.state_dict())
        other.classifier.load_state_dict(self.classifier.state_dict())
        return other.eval()

    def features(self, images: Tensor) -> Tensor:
        """Compute raw F7 `(n, feature_dim)` of images `(n, *Preprocess.shape)` uint8: the mean over several views.

        Networks with one view accept images of other sizes, as in training.
        """
        views, size = self.preprocess.views, self.preprocess.size
        if views > 1:
            images = images.reshape(-1, size, size, 3)
        x = (images.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.std
        f7: Tensor = self.backbone(x)
        return f7 if views == 1 else f7.reshape(-1, views, self.feature_dim).mean(dim=1)

    def activations(self, f7: Tensor) -> Tensor:
        """Compute H `(n, bits)` in 0…1 from raw F7: a^H = σ(W^H F7 + b^H), section 3.2."""
        return torch.sigmoid(self.latent(f7))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the outputs for training: F8's logits `(n, classes)` and H `(n, bits)`."""
        h = self.activations(self.features(images))
        return self.classifier(h), h


class SearchHead(nn.Module):
    """A `LatentHashNet` for searching: images → H and F7, with F7 normalised as configured."""

    def __init__(self, network: LatentHashNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute H `(n, bits)` and F7 `(n, feature_dim)` of images `(n, size, size, 3)` uint8."""
        f7 = self.network.features(images)
        h = self.network.activations(f7)
        if self.network.feature_norm == "unit":
            f7 = nn.functional.normalize(f7)
        return h, f7
