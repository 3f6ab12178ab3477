"""SSDH: Yang, Lin, Chen: Supervised Learning of Semantics-Preserving Hash via Deep CNNs, TPAMI 2018.

The paper's latent layer with two more terms in the loss: activations are pushed to 0 or 1 (eq. 3), and half of a
image's bits are to be 1 (eq. 4). The three terms weigh the same, as in its experiments.
"""

from dataclasses import dataclass

from models.comparison.baselines.latent import LatentLayer


@dataclass
class SemanticsPreservingHash(LatentLayer):
    """What is learnt, and what is left as it is, is what `sgd.py` says."""

    push: float = 1.0
    balance: float = 1.0
    name: str = "SSDH"
