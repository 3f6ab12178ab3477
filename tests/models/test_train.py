"""Training on colour classes: learning, resuming, errors and warnings."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from models.checkpoint.files import load
from models.checkpoint.info import CheckpointInfo
from models.errors import CheckpointError, ConfigError, DatasetError, WeightsUnavailableError
from models.network.backbones import BACKBONES, Backbone
from models.network.cuts import DEFAULT_CUT
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess
from models.network.registry import new_preprocess
from models.training import train as training
from models.training.config import TrainingConfig
from models.training.measure import Encoded, measure_rankings
from models.training.progress import TrainingProgress
from models.training.state import eval_mode_modules, parameter_groups
from models.training.train import learning_rate, train

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (210, 50, 40)}
EACH = 16
# Few steps, hence a high rate.
RECIPE = TrainingConfig(bits=16, size=48, epochs=4, batch=8, rate=1.0, average=0.6)
# A network that learns quickly; with dropout, because it uses torch's global generator.
TINY = replace(RECIPE, backbone="tiny", size=32, epochs=3, rate=0.5)

pytestmark = pytest.mark.usefixtures("one_thread")


def tiny_network() -> nn.Module:
    layers = (nn.Conv2d(3, 8, 5, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(*layers, nn.Dropout(0.2))


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess(32, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
    backbone = Backbone("tiny", 8, 8, preprocess, 0.1, tiny_network, lambda: tiny_network().state_dict())
    monkeypatch.setitem(BACKBONES, "tiny", backbone)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of noisy images of one colour each, 64 pixels square."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for at in range(EACH):
            pixels = np.clip(rng.normal(colour, 25, (64, 64, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{at:02}.png")
    return folder


def stop_when(reached: Callable[[TrainingProgress], bool]) -> Callable[[TrainingProgress], None]:
    def report(progress: TrainingProgress) -> None:
        if reached(progress):
            raise KeyboardInterrupt

    return report


def after_epoch(epoch: int) -> Callable[[TrainingProgress], None]:
    return stop_when(lambda progress: progress.epoch == epoch and progress.accuracy is not None)


def in_the_middle_of_epoch(epoch: int) -> Callable[[TrainingProgress], None]:
    return stop_when(lambda progress: progress.epoch == epoch and progress.step == 2)


def test_small_pool_wins_where_codes_rank_better_than_f7() -> None:
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 400)
    codes = np.where(labels[:, None] == 0, 0, 255).astype(np.uint8).repeat(3, axis=1)
    encoded = Encoded(codes, rng.normal(size=(800, 8)).astype(np.float32), labels)
    rows = rng.permutation(800)[:50]
    found = measure_rankings(Encoded(codes[rows], encoded.features[rows], labels[rows]), encoded)
    assert found["unit", 100]["hds"]["precision"] == found["unit", 300]["hds"]["precision"] == 1
    assert 0.4 < found["unit", 1000]["hds"]["precision"] < 0.6


@pytest.mark.slow
def test_real_network_trains_and_resumes(images: Path, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    whole = train(images, tmp_path / "whole", RECIPE, seen.append)
    assert whole.metrics["held_out_accuracy"] >= 0.9
    assert [one.epoch for one in seen if one.accuracy is not None] == [0, 1, 2, 3, 4]
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path / "stopped", RECIPE, after_epoch(1))
    assert not (tmp_path / "stopped.json").exists()
    resumed: list[TrainingProgress] = []
    assert train(images, tmp_path / "stopped", RECIPE, resumed.append).fingerprint == whole.fingerprint
    assert {one.epoch for one in resumed} == {2, 3, 4}


@pytest.mark.parametrize("stop", [after_epoch(1), in_the_middle_of_epoch(2)], ids=["between epochs", "within one"])
@pytest.mark.parametrize("imagenet", [True, False])
def test_interrupted_run_resumes_to_the_same_weights(
    images: Path, tmp_path: Path, stop: Callable[[TrainingProgress], None], imagenet: bool
) -> None:
    recipe = replace(TINY, imagenet=imagenet)
    whole = train(images, tmp_path / "whole", recipe)
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path / "stopped", recipe, stop)
    torch.rand(7)
    again = train(images, tmp_path / "stopped", recipe)
    assert again.fingerprint == whole.fingerprint
    assert again.training["history"] == whole.training["history"]


def test_training_starts_from_a_checkpoint(images: Path, tmp_path: Path) -> None:
    train(images, tmp_path / "first", TINY)
    still = replace(TINY, start=str(tmp_path / "first.json"), rate=1e-9, epochs=1, seed=5)
    train(images, tmp_path / "second", still)
    first, second = (load(tmp_path / f"{name}.json")[0].state_dict() for name in ("first", "second"))
    # H and F8 are trained on its features first.
    trained = [
        name for name in first if name.startswith("backbone.") and "running" not in name and "batches" not in name
    ]
    assert trained
    for name in trained:
        torch.testing.assert_close(second[name], first[name], atol=1e-3, rtol=0)


def test_layers_of_other_shapes_are_reinitialised_when_starting_from_a_checkpoint(images: Path, tmp_path: Path) -> None:
    train(images, tmp_path / "first", TINY)
    start = replace(TINY, start=str(tmp_path / "first.json"), rate=1e-9, epochs=1, bits=24, seed=5)
    info = train(images, tmp_path / "more-bits", start)
    assert info.bits == 24
    first, second = (load(tmp_path / f"{name}.json")[0].state_dict() for name in ("first", "more-bits"))
    torch.testing.assert_close(second["backbone.0.weight"], first["backbone.0.weight"], atol=1e-3, rtol=0)
    with pytest.raises(CheckpointError, match="first has the backbone tiny"):
        train(images, tmp_path / "other", replace(start, backbone="efficientnet_lite0", size=96))


def test_run_of_an_older_version_resumes(images: Path, tmp_path: Path) -> None:
    whole = train(images, tmp_path / "whole", TINY)
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path / "net", TINY, after_epoch(1))
    path = tmp_path / "net.unfinished.safetensors"
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        names = file.keys()
        tensors = {name: file.get_tensor(name) for name in names}
    del about["recipe"]["start"]
    save_file(tensors, path, {"about": json.dumps(about)})
    assert train(images, tmp_path / "net", TINY).fingerprint == whole.fingerprint


def test_training_is_deterministic_for_a_seed(images: Path, tmp_path: Path) -> None:
    first, second, other = (
        train(images, tmp_path / str(at), replace(TINY, seed=seed)) for at, seed in enumerate((1, 1, 2))
    )
    assert first.fingerprint == second.fingerprint != other.fingerprint


def test_checkpoint_records_its_training(images: Path, tmp_path: Path) -> None:
    info = train(images, tmp_path / "runs" / "colours", TINY)
    network, found = load(tmp_path / "runs" / "colours.json")
    assert found.fingerprint == info.fingerprint
    assert (found.name, found.classes, found.bits) == ("colours", ("blue", "green", "red"), 16)
    assert found.preprocess == new_preprocess("tiny", 32, DEFAULT_CUT) == network.preprocess
    assert found.training["recipe"]["backbone"] == "tiny"
    assert len(found.training["history"]) == 3
    written = [f"colours{head}.{suffix}" for head in ("", "-head") for suffix in ("json", "safetensors")]
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {*written, "colours.log.csv"}


def test_resuming_with_other_options_raises(images: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(images, tmp_path / "net", TINY, after_epoch(1))
    with pytest.raises(CheckpointError, match="other options"):
        train(images, tmp_path / "net", replace(TINY, rate=0.1))
    assert train(images, tmp_path / "net", TINY).name == "net"


def test_training_skips_unreadable_files_with_a_warning(images: Path, tmp_path: Path) -> None:
    folder, warnings = tmp_path / "pictures", list[str]()
    for name in COLOURS:
        (folder / name).mkdir(parents=True)
        for at in range(4):
            (folder / name / f"{at}.png").write_bytes((images / name / f"{at:02}.png").read_bytes())
    (folder / "red" / "broken.jpg").write_bytes(b"no picture")
    info = train(folder, tmp_path / "net", replace(TINY, epochs=1), note=warnings.append)
    assert [warning for warning in warnings if "broken.jpg" in warning]
    assert info.training["pictures"] + info.metrics["held_out_pictures"] == 12


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "no labelled images"),
        (("loose.png",), "no labelled images"),
        (("only/1.png", "only/2.png"), "one class, only"),
        (("a/1.png", "b/1.png"), "one image of each class"),
        (("train/a/1.png", "train/b/1.png", "val/a/1.png"), "classes differ"),
    ],
)
def test_untrainable_folders_raise(tmp_path: Path, names: tuple[str, ...], expected: str) -> None:
    folder = write(tmp_path / "pictures", *names)
    folder.mkdir(exist_ok=True)
    with pytest.raises(DatasetError, match=expected):
        train(folder, tmp_path / "net", TINY)


def test_class_with_one_image_gives_a_warning(images: Path, tmp_path: Path) -> None:
    folder, warnings = tmp_path / "pictures", list[str]()
    write(folder, "single/1.png", *(f"{name}/{at}.png" for name in "ab" for at in range(4)))
    train(folder, tmp_path / "net", replace(TINY, epochs=1), note=warnings.append)
    assert "Classes with only one image, of which none is held out: single." in warnings


def test_crops_below_the_backbone_minimum_raise_before_decoding(tmp_path: Path) -> None:
    small = replace(RECIPE, backbone="alexnet", size=64)
    with pytest.raises(
        ConfigError, match=r"Image size 64: crops have 53 pixels, and alexnet needs 63\. Use --image-size 76"
    ):
        train(tmp_path / "nowhere", tmp_path / "out", small)


def test_from_scratch_all_layers_have_the_full_rate_and_dropout_is_off() -> None:
    network = LatentHashNet("tiny", 16, 2, BACKBONES["tiny"].preprocess)
    dropouts = [module for module in network.modules() if isinstance(module, nn.Dropout)]
    scratch = replace(TINY, imagenet=False)
    assert {group["share"] for group in parameter_groups(network, scratch)} == {1.0}
    assert eval_mode_modules(network, scratch) == dropouts
    assert {group["share"] for group in parameter_groups(network, TINY)} == {1.0, 0.1}
    assert eval_mode_modules(network, TINY) == []


def test_default_learning_rate_is_the_backbone_default() -> None:
    assert learning_rate(1.0, replace(TINY, rate=None)) == 0.0
    assert learning_rate(TINY.warm_up, replace(TINY, rate=None)) == pytest.approx(0.1)
    assert learning_rate(TINY.warm_up, replace(TINY, rate=None, backbone="alexnet")) == pytest.approx(0.01)


def test_small_backbone_trains_from_scratch(images: Path, tmp_path: Path) -> None:
    recipe = TrainingConfig(backbone="small", imagenet=False, bits=16, size=24, epochs=4, batch=8, average=0.6)
    info = train(images, tmp_path / "small", recipe)
    assert (info.metrics["held_out_accuracy"], info.feature_dim) == (1.0, 256)
    with pytest.raises(WeightsUnavailableError, match="--no-pretrained"):
        train(images, tmp_path / "never", replace(recipe, imagenet=True))


@pytest.mark.parametrize(("least_area", "cut"), [(0.5, 160), (0.75, 175), (1.0, 192)])
def test_crop_size_approaches_image_size_as_crops_cover_more(least_area: float, cut: int) -> None:
    assert TrainingConfig(size=192, least_area=least_area).cut == cut


@pytest.mark.parametrize(("fingerprint", "expected"), [("0123", "net 0123 0.5\n"), ("", "")])
def test_only_the_saving_process_prints_the_result(
    fingerprint: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reads, metrics = BACKBONES["tiny"].preprocess, {"held_out_accuracy": 0.5}
    info = CheckpointInfo("net", "tiny", 8, 8, "raw", (), reads, metrics=metrics, fingerprint=fingerprint)
    monkeypatch.setattr(training, "train", lambda *_: info)
    monkeypatch.setattr("sys.argv", ["train", "pictures", "--out", "nowhere"])
    training.main()
    assert capsys.readouterr().out == expected


def test_finished_network_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.json").write_text("{}")
    monkeypatch.setattr("sys.argv", ["train", "pictures", "--out", str(tmp_path / "net")])
    with pytest.raises(SystemExit, match="2"):
        training.main()
    assert "is a finished network" in capsys.readouterr().err
