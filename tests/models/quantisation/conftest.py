"""Fixtures: an int8 checkpoint, and the sample that it was made from."""

import shutil
from pathlib import Path

import pytest

from models.checkpoint.info import read_info
from models.data.dataset import LoadedImages
from models.quantisation.quantise import open_source, quantise
from models.quantisation.sample import load_sample
from tests.models.folders import coloured_folder
from tests.models.quantisation.steps import Made, silent


@pytest.fixture(scope="module")
def sample(checkpoint_path: Path, tmp_path_factory: pytest.TempPathFactory) -> LoadedImages:
    folder = coloured_folder(tmp_path_factory.mktemp("sample"), per_class=24)
    return load_sample(folder, read_info(checkpoint_path).preprocess, lambda _done, _total: None)


@pytest.fixture(scope="module")
def made(checkpoint_path: Path, sample: LoadedImages, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """An int8 checkpoint made from that of `checkpoint_path`."""
    out = tmp_path_factory.mktemp("quantised") / "tiny-int8"
    return out.with_suffix(".json"), *quantise(open_source(str(checkpoint_path), "int8"), sample, out, silent)


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """A copy that a test may modify."""
    return Path(shutil.copytree(made[0].parent, tmp_path / "copy")) / made[0].name
