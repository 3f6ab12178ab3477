"""Measure a network on held-out images during training: accuracy of F8, and precision@10 of ES, HDS and BCS."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoint.info import FeatureNorm
from models.data.dataset import LoadedImages
from models.evaluation.metrics import accuracy, retrieval
from models.network.codes import Codes, Floats, binarise, unit_length
from models.network.latent_hash_net import LatentHashNet

NORMS: tuple[FeatureNorm, ...] = ("raw", "unit")
# A small pool ranks better where codes rank better than F7; of equal ones the larger wins.
POOLS = (1000, 300, 100, 30)
# Training images that held-out images search after every epoch.
MONITORED = 1000
_BATCH = 64

# Norm of F7 and pool.
RankingChoice = tuple[FeatureNorm, int]
# By mode, `precision` at 10 and `map`.
Measured = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Encoded:
    """Encoded images: codes `(n, bits / 8)`, raw F7 `(n, d)` and labels `(n,)`."""

    codes: Codes
    features: Floats
    labels: NDArray[np.int64]

    def normed(self, norm: FeatureNorm) -> tuple[Codes, Floats, NDArray[np.int64]]:
        """Return codes, F7 with a norm, and labels."""
        return self.codes, self.features if norm == "raw" else unit_length(self.features), self.labels


def measure_rankings(queries: Encoded, database: Encoded) -> dict[RankingChoice, Measured]:
    """Measure retrieval by norm of F7 and pool: held-out images are queries, training images the database."""
    return {
        (norm, pool): retrieval(queries.normed(norm), database.normed(norm), pool=pool)
        for norm in NORMS
        for pool in POOLS
    }


def best_ranking(queries: Encoded, database: Encoded) -> tuple[RankingChoice, Measured]:
    """Return norm and pool with the best precision of HDS, and what they measure."""
    measured = measure_rankings(queries, database)
    best = max(measured, key=lambda choice: measured[choice]["hds"]["precision"])
    return best, measured[best]


def epoch_scores(
    network: LatentHashNet, held_out: LoadedImages, database: LoadedImages, classes: int
) -> dict[str, float]:
    """Return `accuracy`, and `es`, `hds`, `bcs`: precision@10 of held-out images over a sample of training images.

    `classes` is the number of F8's units that are measured, the first ones.
    """
    logits, queries = run_network(network, held_out)
    _, searched = run_network(network, database)
    return scores(logits[:, :classes], queries, searched)


def scores(logits: Floats, queries: Encoded, database: Encoded) -> dict[str, float]:
    """Return `accuracy` of F8 `(q, classes)`, and precision@10 of `es`, `hds` and `bcs`."""
    _, measured = best_ranking(queries, database)
    precision = {mode: measured[mode]["precision"] for mode in ("es", "hds", "bcs")}
    return {"accuracy": accuracy(logits, queries.labels), **precision}


@torch.inference_mode()
def run_network(network: LatentHashNet, loaded: LoadedImages) -> tuple[Floats, Encoded]:
    """Run a network in evaluation mode on images `(n, size, size, 3)`; return F8 `(n, classes)` and the encodings."""
    device = next(network.parameters()).device
    network.eval()
    parts = []
    for first in range(0, len(loaded.labels), _BATCH):
        images = np.ascontiguousarray(loaded.images[first : first + _BATCH])
        parts.append(network.features(torch.from_numpy(images).to(device)).float().cpu())
    features = torch.cat(parts).numpy()
    return apply_head(network, features, loaded.labels)


@torch.inference_mode()
def apply_head(network: LatentHashNet, features: Floats, labels: NDArray[np.int64]) -> tuple[Floats, Encoded]:
    """Compute F8 and codes of raw F7 `(n, d)`."""
    device = next(network.parameters()).device
    activations = network.activations(torch.from_numpy(features).to(device))
    logits = network.classifier(activations).float().cpu().numpy()
    return logits, Encoded(binarise(activations.float().cpu().numpy()), features, labels)
