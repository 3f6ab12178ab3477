"""SSDH: Yang, Lin, Chen: Supervised Learning of Semantics-Preserving Hash via Deep CNNs, TPAMI 2018.

The paper's latent layer with two more loss terms: activations near 0 or 1 (eq. 3), and half of an image's bits 1
(eq. 4). The three terms have equal weights, as in its experiments.
"""

from dataclasses import dataclass

from models.comparison.baselines.latent import LatentLayer


@dataclass
class SemanticsPreservingHash(LatentLayer):
    """SSDH on fixed features; see `sgd.py`."""

    push: float = 1.0
    balance: float = 1.0
    name: str = "SSDH"
