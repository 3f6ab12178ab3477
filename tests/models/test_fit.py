from pathlib import Path

import numpy as np
import pytest

from models.checkpoint.files import load
from models.data.dataset import open_rgb, read_unlabelled
from models.errors import DatasetError, ModelError
from models.evaluation.metrics import rank_by_hamming
from models.network.encode import encode
from models.training.fit import FitConfig, fit
from tests.models.folders import coloured_folder


def test_fit_produces_a_network_that_groups_similar_images(tmp_path: Path) -> None:
    folder = coloured_folder(tmp_path / "pictures")
    steps: list[tuple[int, int]] = []
    (folder / "torn.jpg").write_bytes(b"no picture")
    messages: list[str] = []
    info = fit(
        folder, tmp_path / "mine", FitConfig(bits=16, size=32), lambda *done: steps.append(done), messages.append
    )

    network, found = load(tmp_path / "mine.json")
    assert found.fingerprint == info.fingerprint
    assert found.classes == ()
    assert found.feature_norm == "unit"
    assert steps[-1] == (37, 37)
    assert messages == [f"{folder / 'torn.jpg'} is not a readable image and is skipped."]

    paths = [path for path in read_unlabelled(folder, 100, 0).paths if path.name != "torn.jpg"]
    codes, features = encode(network, np.stack([network.preprocess(open_rgb(path)) for path in paths]))
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    nearest = [paths[position].parent.name for position in rank_by_hamming(codes[0], codes)[:8]]
    assert nearest.count(paths[0].parent.name) >= 6


def test_lsh_fits_fewer_images_than_bits(tmp_path: Path) -> None:
    folder = coloured_folder(tmp_path / "pictures", per_class=2)
    with pytest.raises(DatasetError, match="fewer bits, or lsh"):
        fit(folder, tmp_path / "itq", FitConfig(bits=64, size=32))
    assert fit(folder, tmp_path / "lsh", FitConfig(bits=64, size=32, method="lsh")).bits == 64


def test_fit_without_images_raises(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="contains no images"):
        fit(tmp_path, tmp_path / "out", FitConfig())
    with pytest.raises(DatasetError, match="is not a folder"):
        fit(tmp_path / "nowhere", tmp_path / "out", FitConfig())


def test_fit_with_bits_not_a_multiple_of_8_raises(tmp_path: Path) -> None:
    folder = coloured_folder(tmp_path / "pictures", per_class=2)
    with pytest.raises(ModelError, match="multiple of 8"):
        fit(folder, tmp_path / "out", FitConfig(bits=20, size=32))
