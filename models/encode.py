"""Codes and F7 of prepared pictures, in torch: what training, fitting and evaluating share.

The service has its own way, `app/search/encode.py`, which is faster and gives the same within float tolerance.
"""

import numpy as np
import torch
from numpy.typing import NDArray

from models.codes import Codes, Floats, binarise
from models.network import LatentHashNet, SearchHead

BATCH = 64


@torch.inference_mode()
def encode(network: LatentHashNet, pictures: NDArray[np.uint8]) -> tuple[Codes, Floats]:
    """Returns codes `(n, bits / 8)` and F7 `(n, d)`, scaled as the network says, of `(n, size, size, 3)` uint8."""
    head, device = SearchHead(network).eval(), next(network.parameters()).device
    parts = [head(torch.from_numpy(pictures[i : i + BATCH]).to(device)) for i in range(0, len(pictures), BATCH)]
    activations, features = (torch.cat([part[column] for part in parts]).cpu().numpy() for column in (0, 1))
    return binarise(activations), features
