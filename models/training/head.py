"""Train H and F8 alone, on frozen F7: a complete checkpoint within minutes, and the start of fine-tuning.

A new head distorts pretrained features while it learns, so fine-tuning from a trained one is more accurate too (Kumar,
Raghunathan, Jones, Ma, Liang: Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution, ICLR
2022).
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from models.checkpoint.files import load
from models.checkpoint.info import CheckpointInfo
from models.data.dataset import LoadedImages
from models.data.training_data import TrainingData
from models.network.codes import Floats
from models.network.encode import Encode, encoder
from models.network.latent_hash_net import LatentHashNet
from models.training.config import TrainingConfig
from models.training.devices import from_rank_zero
from models.training.finish import EVALUATION_DATABASE_SIZE, describe_encoded, encode_in_batches
from models.training.losses import loss
from models.training.measure import MONITORED, Encoded, apply_head, best_ranking, scores
from models.training.progress import MODES
from models.training.state import Tensors, TrainingState

# Images whose F7 is computed: a pass over all images of a large set would take hours.
MAX_IMAGES = 20_000
EPOCHS, BATCH, RATE, WEIGHT_DECAY = 60, 128, 3e-3, 1e-2
# Steps for small sets, whose epochs have few.
MIN_STEPS = 600
_CHUNK = 64


@dataclass(frozen=True)
class FrozenFeatures:
    """F7 of a network that does not change, of training and held-out images.

    Attributes:
        training: raw F7 `(n, d)` of at most `MAX_IMAGES` random training images.
        targets: `(n,)`, or `(n, columns)` with several columns of labels.
        monitored: positions of those among them that `ImageSource.sample` draws for the measurement after an epoch.
        held_out: raw F7 `(q, d)`.
    """

    training: Floats
    targets: NDArray[np.int64]
    monitored: NDArray[np.int64]
    held_out: Floats

    @property
    def labels(self) -> NDArray[np.int64]:
        """Labels `(n,)`, of the first column if there are several."""
        return self.targets.reshape(len(self.targets), -1)[:, 0]


@dataclass(frozen=True)
class TrainedHead:
    """A trained head's scores on held-out images, those of the network that it started from, and its checkpoint.

    `before` has `es`, and with codes `hds` and `bcs`.
    """

    before: dict[str, float]
    scores: dict[str, float]
    info: CheckpointInfo

    @property
    def precision(self) -> dict[str, float]:
        """Precision@10 by mode."""
        return {mode: self.scores[mode] for mode in MODES}

    def __str__(self) -> str:
        """Describe the head for the user."""
        now, before = (_listed(found) for found in (self.precision, self.before))
        codes = "" if "bcs" in self.before else ", and no codes"
        return f"Precision@10 on held-out images: {now}; before training: {before}{codes}."


def train_head(
    state: TrainingState, data: TrainingData, recipe: TrainingConfig, name: str, report: Callable[[int, int], None]
) -> TrainedHead:
    """Train the head of a run that has not begun, and describe its checkpoint `name`, which is not saved.

    Raises:
        CheckpointError: the checkpoint to start from cannot be used.
    """
    network = state.network
    network.feature_norm = "raw"
    run = encoder(network.eval(), len(data.training.labels) + len(data.held_out.labels))
    frozen = frozen_features(run, recipe.size, data, recipe.seed, report)
    before = scores_of_start(frozen, data, recipe)
    # Processes on different machines would round differently.
    network.load_state_dict(from_rank_zero(lambda: _fitted(state, frozen, recipe)), strict=False)
    found = from_rank_zero(lambda: scores(*_encoded(network, frozen, data)))
    state.end_head(found)
    rows = np.random.default_rng(recipe.seed).permutation(len(frozen.labels))[:EVALUATION_DATABASE_SIZE]
    features = [frozen.held_out, frozen.training[rows]]
    summary = {"head": found, "start": before, "held_out_accuracy": found["accuracy"], "history": []}
    info = describe_encoded(network, name, data, recipe, summary, run, features, frozen.labels[rows])
    network.feature_norm = "raw"
    return TrainedHead(before, found, info)


def scores_of_start(frozen: FrozenFeatures, data: TrainingData, recipe: TrainingConfig) -> dict[str, float]:
    """Return the precision@10 of the network that training starts from: of ES, and with codes of HDS and BCS.

    ImageNet weights have no codes.
    """
    if recipe.start is None:
        queries, database = (
            Encoded(np.zeros((len(features), 1), np.uint8), features, labels)
            for features, labels in (
                (frozen.held_out, data.held_out.labels),
                (frozen.training[frozen.monitored], frozen.labels[frozen.monitored]),
            )
        )
        return {"es": best_ranking(queries, database)[1]["es"]["precision"]}
    found = scores(*_encoded(load(recipe.start)[0], frozen, data))
    return {mode: found[mode] for mode in MODES}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: the steps are too small to share, and on busy cores threads wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _listed(precision: dict[str, float]) -> str:
    return ", ".join(f"{mode} {value:.3f}" for mode, value in precision.items())


def _encoded(network: LatentHashNet, frozen: FrozenFeatures, data: TrainingData) -> tuple[Floats, Encoded, Encoded]:
    """Return F8 of held-out images, their encodings, and those of the monitored training images."""
    logits, queries = apply_head(network, frozen.held_out, data.held_out.labels)
    rows = frozen.monitored
    database = apply_head(network, frozen.training[rows], frozen.labels[rows])[1]
    return logits[:, : data.measured_classes], queries, database


def _fitted(state: TrainingState, frozen: FrozenFeatures, recipe: TrainingConfig) -> Tensors:
    network = state.network
    fit_head(network, frozen.training, frozen.targets, recipe, state.columns)
    parts = {"latent": network.latent, "classifier": network.classifier}
    return {f"{part}.{name}": value for part, layer in parts.items() for name, value in layer.state_dict().items()}


def frozen_features(
    run: Encode, size: int, data: TrainingData, seed: int, report: Callable[[int, int], None]
) -> FrozenFeatures:
    """Compute F7 once, of whole images as in searches.

    Args:
        run: the network's encoder, with raw F7.
        size: side of its input.
        data: the images.
        seed: seed of the sample, as for the measurement after an epoch.
        report: called with the number of images done, and of all.
    """
    drawn = np.random.default_rng(seed).permutation(len(data.training.labels))
    rows = np.sort(drawn[:MAX_IMAGES])
    queries = encode_in_batches(run, data.held_out.images)
    parts: list[Floats] = []
    labels: list[NDArray[np.int64]] = []
    for some, their_labels in data.training.stream(rows[i : i + _CHUNK] for i in range(0, len(rows), _CHUNK)):
        parts.append(run(LoadedImages(some, their_labels, ()).resized(size).images)[1])
        labels.append(their_labels)
        report(sum(map(len, labels)), len(rows))
    monitored = np.searchsorted(rows, np.sort(drawn[:MONITORED]))
    return FrozenFeatures(np.concatenate(parts), np.concatenate(labels), monitored, queries)


def fit_head(
    network: LatentHashNet,
    features: Floats,
    targets: NDArray[np.int64],
    recipe: TrainingConfig,
    columns: tuple[int, ...] = (),
) -> None:
    """Train H and F8 of a network in place, on F7 `(n, d)` with labels `(n,)`, or `(n, columns)`.

    F7 is standardised for the training, because its dimensions differ in scale by far more than SGD's steps suit; the
    standardisation is then part of H.
    """
    device = next(network.parameters()).device
    x, y = torch.from_numpy(features).to(device), torch.from_numpy(targets).to(device)
    mean, scale = x.mean(dim=0), x.std(dim=0, correction=0)
    # What hardly varies here may vary elsewhere.
    scale = scale.clamp(min=max(0.1 * float(scale.mean()), 1e-6))
    x = (x - mean) / scale
    latent, classifier = network.latent, network.classifier
    with torch.no_grad():
        latent.bias.add_(latent.weight @ mean)
        latent.weight *= scale
    parameters = [*latent.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY)
    generator = torch.Generator().manual_seed(recipe.seed)
    steps = max(EPOCHS * math.ceil(len(x) / BATCH), MIN_STEPS)
    order = torch.empty(0, dtype=torch.int64)
    with torch.enable_grad(), _one_thread():
        for step in range(steps):
            if not len(order):
                order = torch.randperm(len(x), generator=generator).to(device)
            rows, order = order[:BATCH], order[BATCH:]
            optimizer.param_groups[0]["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * step / steps))
            activations = torch.sigmoid(latent(x[rows]))
            total = loss(classifier(activations), activations, y[rows], recipe, columns)
            optimizer.zero_grad()
            torch.autograd.backward(total)
            optimizer.step()
    with torch.no_grad():
        latent.weight /= scale
        latent.bias.sub_(latent.weight @ mean)
