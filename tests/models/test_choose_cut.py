"""The cut that suits a data set is chosen on its training images."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from app.cli.models.training import CutName
from models.checkpoint.files import load
from models.data.dataset import read_splits
from models.network.backbones import BACKBONES, Backbone
from models.network.cuts import CUTS, DEFAULT_CUT, Cut, with_cut
from models.network.latent_hash_net import LatentHashNet
from models.network.preprocess import Preprocess
from models.network.registry import new_preprocess
from models.training.choose_cut import MIN_SAMPLE, choose_cut, leave_one_out
from models.training.config import TrainingConfig
from models.training.fit import FitConfig, fit
from models.training.train import train
from tests.models.test_train import after_epoch

SIDE = 32
PER_CLASS = 30
COLOURS = ((220, 30, 30), (30, 200, 30), (30, 30, 220), (200, 200, 30))
RECIPE = TrainingConfig(backbone="mean", bits=8, size=SIDE, epochs=2, batch=8, least_area=1.0)

pytestmark = pytest.mark.usefixtures("one_thread")


class MeanColours(nn.Module):
    """F7 is the mean colour of four rows of four cells; the layer makes it trainable."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.scale = nn.AdaptiveAvgPool2d(4), nn.Linear(48, 48)
        with torch.no_grad():
            self.scale.weight.copy_(torch.eye(48))
            self.scale.bias.fill_(1e-3)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.scale(self.pool(x).flatten(1))
        return found


@pytest.fixture(autouse=True)
def _mean(monkeypatch: pytest.MonkeyPatch) -> None:
    preprocess = Preprocess(SIDE, "stretch", (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
    backbone = Backbone("mean", 48, 8, preprocess, 0.1, MeanColours, lambda: MeanColours().state_dict())
    monkeypatch.setitem(BACKBONES, "mean", backbone)


def write_images(folder: Path, *, middle: bool, per_class: int = PER_CLASS) -> Path:
    """Noise of 60 × 40 pixels, with the colour of the class in the middle or at both ends."""
    rng = np.random.default_rng(0)
    for label, colour in enumerate(COLOURS):
        (folder / str(label)).mkdir(parents=True)
        for at in range(per_class):
            pixels = np.full((40, 60, 3), rng.integers(0, 256, 3), np.uint8)
            for part in (slice(20, 40),) if middle else (slice(6), slice(54, 60)):
                pixels[5:35, part] = colour
            noisy = np.clip(pixels + rng.normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / str(label) / f"{at}.png")
    return folder


@pytest.fixture(scope="module")
def centred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("centred"), middle=True)


@pytest.fixture(scope="module")
def at_the_ends(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("ends"), middle=False)


def network(cut: Cut = DEFAULT_CUT) -> LatentHashNet:
    made = LatentHashNet("mean", 8, 0, new_preprocess("mean", SIDE, cut))
    made.load_imagenet()
    return made


def precisions(folder: Path) -> dict[Cut, float]:
    files = read_splits(folder)["train"]
    plain = network().preprocess
    return {cut: float(leave_one_out(files, network(), with_cut(plain, cut)).mean()) for cut in CUTS}


def test_objects_in_the_middle_are_cut_out(centred: Path) -> None:
    found, notes = precisions(centred), list[str]()
    assert found["square-7/8"] > found["stretch"] + 0.05
    chosen = choose_cut(read_splits(centred)["train"], network(), notes.append)
    assert found[chosen] >= max(found.values()) - 0.05
    assert chosen.startswith("square")
    assert f"cut as {chosen}" in notes[0]
    assert f"stretch {found['stretch']:.3f}" in notes[0]


def test_objects_at_the_edges_are_kept(at_the_ends: Path) -> None:
    found = precisions(at_the_ends)
    assert found["stretch"] > found["square"] + 0.05
    assert choose_cut(read_splits(at_the_ends)["train"], network(), lambda _: None) in ("stretch", "pad")


def test_command_line_offers_every_cut() -> None:
    assert tuple(cut.value for cut in CutName) == CUTS


def test_default_stays_without_a_clear_difference(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for at in range(60):
            Image.new("RGB", (40, 40), (at * 4, 9, 9)).save(tmp_path / label / f"{at}.png")
    for default in CUTS:
        assert choose_cut(read_splits(tmp_path)["train"], network(), lambda _: None, default) == default


def test_few_images_have_the_default(tmp_path: Path) -> None:
    folder = write_images(tmp_path, middle=False, per_class=MIN_SAMPLE // len(COLOURS) - 1)
    assert choose_cut(read_splits(folder)["train"], network(), lambda _: None) == DEFAULT_CUT


@pytest.mark.parametrize("chosen", [None, "pad"])
def test_training_stores_the_cut(at_the_ends: Path, tmp_path: Path, chosen: Cut | None) -> None:
    info = train(at_the_ends, tmp_path / "net", replace(RECIPE, image_cut=chosen))
    reads = load(tmp_path / "net.json")[0].preprocess
    expected = chosen or info.training["recipe"]["image_cut"]
    assert expected in ((chosen,) if chosen else ("stretch", "pad"))
    assert reads == new_preprocess("mean", SIDE, expected)
    assert reads.colour == "srgb"


def test_resumed_run_keeps_its_cut(at_the_ends: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(at_the_ends, tmp_path / "whole", RECIPE)
    with pytest.raises(KeyboardInterrupt):
        train(at_the_ends, tmp_path / "net", RECIPE, after_epoch(1))
    monkeypatch.setattr("models.training.choose_cut.choose_cut", lambda *_: pytest.fail("chosen again"))
    assert train(at_the_ends, tmp_path / "net", RECIPE).fingerprint == whole.fingerprint


def test_run_that_an_older_version_interrupted_stretches_and_ignores_profiles(centred: Path, tmp_path: Path) -> None:
    older = replace(RECIPE, image_cut="stretch", colour="ignore")
    whole = train(centred, tmp_path / "whole", older)
    with pytest.raises(KeyboardInterrupt):
        train(centred, tmp_path / "net", older, after_epoch(1))
    path = tmp_path / "net.unfinished.safetensors"
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    del about["recipe"]["image_cut"], about["recipe"]["colour"]
    save_file(tensors, path, {"about": json.dumps(about)})
    assert train(centred, tmp_path / "net", RECIPE).fingerprint == whole.fingerprint


def test_network_from_scratch_is_shown_whole_images(centred: Path, tmp_path: Path) -> None:
    info = train(centred, tmp_path / "net", replace(RECIPE, imagenet=False))
    assert info.preprocess.fit == "stretch"


def test_fit_chooses_by_the_names_of_folders(at_the_ends: Path, centred: Path, tmp_path: Path) -> None:
    recipe = FitConfig(backbone="mean", bits=8, size=SIDE)
    assert fit(at_the_ends, tmp_path / "one", recipe).preprocess.fit in ("stretch", "pad")
    assert fit(centred, tmp_path / "two", recipe).preprocess.fit == "crop"
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in at_the_ends.glob("*/*"):
        (flat / f"{path.parent.name}-{path.name}").write_bytes(path.read_bytes())
    info = fit(flat, tmp_path / "three", recipe)
    assert info.preprocess == new_preprocess("mean", SIDE, DEFAULT_CUT)
    assert fit(flat, tmp_path / "four", replace(recipe, image_cut="pad")).preprocess.fit == "pad"
