"""The head on frozen F7: what it learns, its checkpoint, interruptions, and several columns of labels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from models.checkpoint import files as checkpoint_files
from models.checkpoint.files import load
from models.checkpoint.info import read_info
from models.data.dataset import LabelColumns, LabelledFiles, read_splits
from models.data.folders import TRAIN
from models.errors import CheckpointError
from models.network.backbones import BACKBONES, Backbone
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess
from models.training.config import TrainingConfig
from models.training.head import fit_head
from models.training.losses import class_loss
from models.training.measure import apply_head, scores
from models.training.progress import TrainingProgress, read_log
from models.training.train import train
from tests.models.folders import coloured_folder

PREPROCESS = Preprocess(16, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
RECIPE = TrainingConfig(
    backbone="grid", bits=16, size=16, epochs=3, batch=8, rate=0.05, average=0.6, image_cut="stretch"
)

pytestmark = pytest.mark.usefixtures("one_thread")


class Grid(nn.Module):
    """F7 is the mean colour of 3 × 3 cells, scaled by weights that can be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(27))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = nn.functional.adaptive_avg_pool2d(x, 3).flatten(1) * self.scale
        return found


@pytest.fixture(autouse=True)
def _grid(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = Backbone("grid", 27, 8, PREPROCESS, 0.05, Grid, lambda: Grid().state_dict())
    monkeypatch.setitem(BACKBONES, "grid", backbone)


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured_folder(tmp_path_factory.mktemp("colours") / "pictures", per_class=20)


def network(classes: int) -> LatentHashNet:
    torch.manual_seed(0)
    return LatentHashNet("grid", 16, classes, PREPROCESS)


def test_head_separates_classes_that_random_codes_do_not() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 600)
    # Classes differ in small dimensions, next to large ones that say nothing.
    features = rng.normal(5, [1.0] * 20 + [0.05] * 7, (600, 27)).astype(np.float32)
    features[:, 20:24] += (0.4 * np.eye(4)[labels]).astype(np.float32)
    net = network(4)

    def measured() -> dict[str, float]:
        logits, queries = apply_head(net, features[:100], labels[:100])
        return scores(logits, queries, apply_head(net, features[100:], labels[100:])[1])

    backbone = {name: value.clone() for name, value in net.backbone.state_dict().items()}
    before = measured()
    fit_head(net, features[100:], labels[100:], replace(RECIPE, seed=1))
    after = measured()
    assert after["accuracy"] > 0.95
    assert before["bcs"] < 0.4
    assert after["bcs"] > 0.9
    assert after["hds"] > 0.9
    assert all(torch.equal(value, backbone[name]) for name, value in net.backbone.state_dict().items())


def test_head_depends_on_the_seed_alone() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(50, 27)).astype(np.float32), rng.integers(0, 3, 50)
    fitted = []
    for seed in (1, 1, 2):
        net = network(3)
        torch.rand(seed)
        fit_head(net, features, labels, replace(RECIPE, seed=seed))
        fitted.append(net.latent.weight.detach().numpy())
    np.testing.assert_array_equal(fitted[0], fitted[1])
    assert not np.array_equal(fitted[0], fitted[2])


def test_feature_that_never_varies_stays_harmless() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 27)).astype(np.float32), rng.integers(0, 3, 60)
    features[:, 3] = 0
    net = network(3)
    fit_head(net, features, labels, RECIPE)
    weights = net.latent.weight.detach().abs()
    assert float(weights[:, 3].max()) < 10 * float(weights.median())


def test_head_is_a_complete_checkpoint_before_fine_tuning(colours: Path, tmp_path: Path) -> None:
    out, notes = tmp_path / "runs" / "net", list[str]()

    def at_first_step(progress: TrainingProgress) -> None:
        if progress.epoch == 1 and progress.step == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(colours, out, RECIPE, at_first_step, notes.append)
    head, info = load(f"{out}-head")
    assert head.bits == 16
    assert info.classes == ("blue", "green", "red")
    assert info.similarity is not None
    assert info.metrics["head"]["hds"] > 0.9
    assert info.metrics["start"].keys() == {"es"}
    assert not Path(f"{out}.json").exists()
    assert any(note.startswith(f"Usable now: {out}-head.json. Precision@10") for note in notes)
    assert any(note.startswith("Fine-tuning takes at most") for note in notes)
    rows = read_log(tmp_path / "runs" / "net.log.csv")
    assert rows[-1]["epoch"] in ("0", "1")
    assert [row["hds"] for row in rows if row["accuracy"]] == [f"{info.metrics['head']['hds']:.6g}"]
    whole = train(colours, out, RECIPE)
    assert read_info(Path(f"{out}-head.json")) == info, "a finished checkpoint is not written again"
    assert whole.fingerprint == train(colours, tmp_path / "whole", RECIPE).fingerprint


def during_features(progress: TrainingProgress) -> bool:
    return progress.epoch == 0 and progress.epochs > 0 and progress.accuracy is None


def after_head(progress: TrainingProgress) -> bool:
    return progress.epoch == 0 and progress.accuracy is not None


def during_near_copies(progress: TrainingProgress) -> bool:
    return progress.epochs == 0


@pytest.mark.parametrize("when", [during_near_copies, during_features, after_head])
def test_run_interrupted_before_fine_tuning_continues_to_the_same_result(
    colours: Path, tmp_path: Path, when: Callable[[TrainingProgress], bool]
) -> None:
    def stop(progress: TrainingProgress) -> None:
        if when(progress):
            raise KeyboardInterrupt

    whole = train(colours, tmp_path / "whole", RECIPE)
    with pytest.raises(KeyboardInterrupt):
        train(colours, tmp_path / "net", RECIPE, stop)
    again = train(colours, tmp_path / "net", RECIPE)
    assert again.fingerprint == whole.fingerprint
    heads = [read_info(tmp_path / f"{name}-head.json").fingerprint for name in ("whole", "net")]
    assert heads[0] == heads[1]


def test_run_interrupted_while_the_heads_checkpoint_is_written_repeats_the_head(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(colours, tmp_path / "whole", RECIPE)

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_files, "write_info", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(colours, tmp_path / "net", RECIPE)
    assert (tmp_path / "net.unfinished.safetensors").exists()
    assert not (tmp_path / "net-head.json").exists()
    again = train(colours, tmp_path / "net", RECIPE)
    assert again.fingerprint == whole.fingerprint
    assert read_info(tmp_path / "net-head.json").fingerprint == read_info(tmp_path / "whole-head.json").fingerprint


@pytest.fixture
def _fine_tuning_gains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = {"accuracy": 0.5, "es": 0.5, "hds": 0.5, "bcs": 0.5}
    monkeypatch.setattr("models.training.train.epoch_scores", lambda *_: dict(worse))


@pytest.mark.usefixtures("_fine_tuning_gains_nothing")
def test_head_becomes_the_checkpoint_and_training_ends_early_without_gain(colours: Path, tmp_path: Path) -> None:
    notes: list[str] = []
    info = train(colours, tmp_path / "net", replace(RECIPE, epochs=9, patience=2), note=notes.append)
    assert notes[-1].startswith("No epoch was better on held-out images than the head")
    rates = [float(row["rate"]) for row in read_log(tmp_path / "net.log.csv") if row["epoch"] == "1"]
    assert max(rates) > 0
    assert len(info.training["history"]) == 2
    head = read_info(tmp_path / "net-head.json")
    assert info.fingerprint == head.fingerprint
    assert info.metrics["held_out_accuracy"] == head.metrics["held_out_accuracy"] > 0.5
    last = read_log(tmp_path / "net.log.csv")[-1]
    assert (last["phase"], last["hds"]) == ("done", f"{head.metrics['head']['hds']:.6g}")


def test_head_of_another_run_is_not_overwritten(colours: Path, tmp_path: Path) -> None:
    train(colours, tmp_path / "net", RECIPE)
    for suffix in ("json", "safetensors"):
        (tmp_path / f"net.{suffix}").unlink()
    before = (tmp_path / "net-head.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="net-head is a finished checkpoint"):
        train(colours, tmp_path / "net", replace(RECIPE, seed=3))
    assert (tmp_path / "net-head.safetensors").read_bytes() == before


def test_start_from_a_checkpoint_is_measured_with_its_codes(colours: Path, tmp_path: Path) -> None:
    train(colours, tmp_path / "first", RECIPE)
    notes: list[str] = []
    second = replace(RECIPE, start=str(tmp_path / "first"), bits=8, epochs=1)
    train(colours, tmp_path / "second", second, note=notes.append)
    found = read_info(tmp_path / "second-head.json").metrics
    assert found["start"].keys() == {"es", "hds", "bcs"}
    assert found["start"]["bcs"] > 0.9, "the codes of the start have 16 bits, those of the head 8"
    assert any("before training: es" in note and "no codes" not in note for note in notes)


def test_training_from_scratch_has_no_head(colours: Path, tmp_path: Path) -> None:
    train(colours, tmp_path / "net", replace(RECIPE, imagenet=False))
    assert not list(tmp_path.glob("net-head*"))


def test_loss_of_columns_leaves_missing_values_out() -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 5, requires_grad=True)
    labels = torch.tensor([[0, 1], [1, -1], [2, 0], [0, -1], [1, 1], [2, -1]])
    found = class_loss(logits, labels, replace(RECIPE, label_smoothing=0.0), (3, 2))
    present = labels[:, 1] >= 0
    first = nn.functional.cross_entropy(logits[:, :3], labels[:, 0])
    second = nn.functional.cross_entropy(logits[present, 3:], labels[present, 1])
    torch.testing.assert_close(found, (first + second) / 2)
    torch.autograd.backward(found)
    assert logits.grad is not None
    assert float(logits.grad[~present, 3:].abs().max()) == 0
    assert float(logits.grad[present, 3:].abs().min()) > 0


def test_loss_of_a_column_without_values_is_zero() -> None:
    labels = torch.tensor([[0, -1], [1, -1]])
    found = class_loss(torch.randn(2, 4), labels, RECIPE, (2, 2))
    assert torch.isfinite(found)


@pytest.fixture
def two_columns(tmp_path: Path) -> LabelledFiles:
    """Images with a colour at the top and one at the bottom, of which a third is unknown."""
    rng, colours_of = np.random.default_rng(0), ((220, 40, 40), (40, 200, 40), (40, 40, 220))
    targets = np.stack([rng.integers(0, 3, 150), rng.integers(-1, 2, 150)], axis=1)
    paths = []
    for at, (top, bottom) in enumerate(targets):
        pixels = np.zeros((24, 24, 3))
        pixels[:12], pixels[12:] = colours_of[top], colours_of[bottom if bottom >= 0 else rng.integers(0, 2)]
        noisy = np.clip(pixels + rng.normal(0, 30, pixels.shape), 0, 255).astype(np.uint8)
        paths.append(tmp_path / f"{at}.png")
        Image.fromarray(noisy).save(paths[-1])
    columns = LabelColumns(("top", "bottom"), (("x", "y", "z"), ("p", "q")), targets)
    products = np.arange(150) // 2
    return LabelledFiles(columns.classes[0], tuple(paths), targets[:, 0], products=products, columns=columns)


def test_several_columns_train_several_heads(two_columns: LabelledFiles, tmp_path: Path) -> None:
    info = train({TRAIN: two_columns}, tmp_path / "net", RECIPE)
    assert info.classes == ("x", "y", "z", "bottom: p", "bottom: q")
    assert info.training["columns"] == {"top": 3, "bottom": 2}
    for name in ("net", "net-head"):
        found = read_info(tmp_path / f"{name}.json").metrics["held_out_accuracy_of"]
        assert found["top"] > 0.9
        assert found["bottom"] > 0.9
    assert load(tmp_path / "net")[0].classifier.out_features == 5


def test_interrupted_run_with_columns_continues_to_the_same_result(two_columns: LabelledFiles, tmp_path: Path) -> None:
    whole = train({TRAIN: two_columns}, tmp_path / "whole", RECIPE)

    def stop(progress: TrainingProgress) -> None:
        if progress.epoch == 2 and progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train({TRAIN: two_columns}, tmp_path / "net", RECIPE, stop)
    assert train({TRAIN: two_columns}, tmp_path / "net", RECIPE).fingerprint == whole.fingerprint


def test_held_out_files_are_recorded_by_position(colours: Path, tmp_path: Path) -> None:
    info = train(colours, tmp_path / "net", RECIPE)
    files = read_splits(colours)[TRAIN]
    held = files.subset(np.array(info.training["held_out"]))
    assert len(held) == info.metrics["held_out_pictures"]
    assert np.bincount(held.labels).tolist() == [2, 2, 2]
