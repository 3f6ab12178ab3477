"""A quantised network with torch's interface, for evaluation and calibration."""

import numpy as np
import torch
from torch import Tensor, nn

from models.checkpoint.info import CheckpointInfo
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import OpenVinoRuntime


class QuantisedNet(LatentHashNet):
    """A `LatentHashNet` whose F7 is computed by OpenVINO; H and F8 are layers as ever.

    Args:
        info: the checkpoint's description.
        runtime: the network in OpenVINO, with raw F7, from `open_quantised`.
    """

    def __init__(self, info: CheckpointInfo, runtime: OpenVinoRuntime) -> None:
        super().__init__(info.backbone, info.bits, len(info.classes), info.preprocess, info.feature_norm)
        self.backbone = nn.Identity()
        self._runtime = runtime

    def features(self, images: Tensor) -> Tensor:
        """Compute raw F7 `(n, feature_dim)` of images `(n, *Preprocess.shape)` uint8."""
        _, f7 = self._runtime(np.ascontiguousarray(images.cpu().numpy()))
        return torch.from_numpy(f7).to(images.device)
