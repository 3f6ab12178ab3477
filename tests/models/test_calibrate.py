"""Calibration of checkpoints."""

from dataclasses import replace
from pathlib import Path

import pytest

from models.checkpoint.calibrate import calibrate_checkpoint
from models.checkpoint.files import load, save
from models.checkpoint.info import read_info
from models.errors import DatasetError
from models.training.fit import FitConfig, fit
from tests.models.folders import coloured_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured_folder(tmp_path_factory.mktemp("calibrate") / "pictures")


@pytest.fixture
def checkpoint(folder: Path, tmp_path: Path) -> Path:
    fit(folder, tmp_path / "mine", FitConfig(bits=16, size=32))
    return tmp_path / "mine.json"


def test_calibration_without_labels(checkpoint: Path, folder: Path) -> None:
    made = read_info(checkpoint).similarity
    assert made is not None
    assert made.pairs == "no labels"
    assert made.features(0) == made.codes(0) == 1
    assert made.copies > 0
    assert made.near > 0
    again = calibrate_checkpoint(checkpoint, folder, labelled=False)
    assert (again.pairs, read_info(checkpoint).similarity) == ("no labels", again)


def test_recalibration_on_labels_keeps_the_fingerprint(checkpoint: Path, folder: Path) -> None:
    before = read_info(checkpoint)
    found = calibrate_checkpoint(checkpoint, folder)
    after = read_info(checkpoint)
    assert found.pairs == "one label"
    assert (after.similarity, after.fingerprint) == (found, before.fingerprint)
    assert found.features(0.1) > found.features(1.0)


def test_calibration_writes_to_a_renamed_checkpoint(checkpoint: Path, folder: Path) -> None:
    renamed = checkpoint.with_name("shoes.json")
    for suffix in (".json", ".safetensors"):
        checkpoint.with_suffix(suffix).rename(renamed.with_suffix(suffix))
    found = calibrate_checkpoint(renamed, folder)
    assert read_info(renamed).similarity == found
    assert not checkpoint.exists()


def test_calibration_on_one_class_raises(checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    before = checkpoint.read_bytes()
    one = tmp_path / "one"
    one.mkdir()
    (one / "red").symlink_to(next(path for path in folder.iterdir() if path.is_dir()))
    with pytest.raises(DatasetError, match="needs two images of one label"):
        calibrate_checkpoint(checkpoint, one)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("labelled", [True, False])
def test_network_with_two_views_is_calibrated(checkpoint: Path, folder: Path, labelled: bool) -> None:
    network, info = load(checkpoint)
    both = replace(info, preprocess=replace(info.preprocess, fit="stretch+crop"))
    save(network, replace(both, name="both"), checkpoint.parent)
    found = calibrate_checkpoint(checkpoint.with_name("both.json"), folder, labelled=labelled)
    assert found.features(0.0) == 1
    assert read_info(checkpoint.with_name("both.json")).similarity == found
