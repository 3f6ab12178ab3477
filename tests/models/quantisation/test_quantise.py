"""`quantise`: what a quantised checkpoint contains and computes, and how it is measured."""

import json
import logging
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from app.search.encode.runtimes import open_runtime
from models.checkpoint.files import load, save_weights
from models.checkpoint.info import read_info
from models.data.dataset import LoadedImages
from models.errors import CheckpointError, ConfigError, DatasetError, ModelError
from models.evaluation.evaluate import evaluate
from models.network import instructions
from models.network.codes import binarise
from models.network.encode import encode, encoder
from models.network.openvino_runtime import openvino_version
from models.network.quantised import UnitLength, open_quantised, probe_images
from models.quantisation.quantise import MIN_IMAGES, import_nncf, open_source, quantise, split
from models.quantisation.sample import load_sample
from tests.models.folders import coloured_folder
from tests.models.quantisation.steps import BITS, Made, cpu_with, silent

# OpenVINO's converter uses torch's deprecated tracing.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


def test_int8_checkpoint_names_its_origin_and_has_its_own_fingerprint(made: Made, checkpoint_path: Path) -> None:
    path, info, _ = made
    source = read_info(checkpoint_path)
    assert read_info(path) == info
    assert sorted(file.name for file in path.parent.iterdir()) == ["tiny-int8.json", "tiny-int8.safetensors"]
    assert info.fingerprint != source.fingerprint
    assert (info.precision, source.precision) == ("int8", "f32")
    described = info.quantisation
    assert described is not None
    assert (described.source, described.source_fingerprint) == (
        str(checkpoint_path.with_suffix("")),
        source.fingerprint,
    )
    assert (described.openvino, described.images) == (openvino_version(), 36)
    assert described.nncf is not None


def test_json_of_an_f32_checkpoint_can_be_read_by_earlier_versions(checkpoint_path: Path) -> None:
    assert "quantisation" not in json.loads(checkpoint_path.read_text())


def test_int8_f7_is_near_that_of_the_source_but_not_equal(
    made: Made, checkpoint_path: Path, sample: LoadedImages
) -> None:
    (low, _), (full, _) = load(made[0]), load(checkpoint_path)
    (codes, features), (full_codes, full_features) = (encode(one, sample.images) for one in (low, full))
    lengths = np.linalg.norm(features, axis=1) * np.linalg.norm(full_features, axis=1)
    cosines = np.einsum("ij,ij->i", features, full_features) / lengths
    assert cosines.mean() > 0.95
    assert not np.array_equal(features, full_features)
    assert np.bitwise_count(codes ^ full_codes).sum() <= 0.2 * BITS * len(codes)


def test_comparison_measures_the_images_that_were_not_calibrated_on(made: Made) -> None:
    _, info, found = made
    assert (found.images, found.queries, found.pool) == (36, 36, 10)
    assert found.f32.es.recall == 1
    assert 0.5 < found.quantised.es.recall < 1
    for measures in (found.f32, found.quantised):
        assert measures.es.precision is not None
        assert measures.es.precision > 0.95, "three colours are easy to tell apart"
    assert 0.9 < found.cosine < 1
    assert 0 < found.distance < found.nearest * 2
    assert 0 <= found.bits <= 0.2 * BITS
    assert found.quantised.milliseconds > 0
    assert info.metrics["quantisation"]["cosine"] == found.cosine


def test_evaluation_and_service_compute_the_same(made: Made, sample: LoadedImages, tmp_path: Path) -> None:
    network, info = load(made[0])
    runtime = open_runtime(made[0], info, "auto", "f32", tmp_path)
    activations, features = runtime(sample.images)
    codes, evaluated = encoder(network, 10_000)(sample.images)
    np.testing.assert_array_equal(evaluated, features)
    assert np.bitwise_count(codes ^ binarise(activations)).sum() == 0
    assert list(tmp_path.iterdir()) == [], "nothing is cached"


def test_int8_f7_does_not_depend_on_the_batch_or_the_cores(made: Made, sample: LoadedImages) -> None:
    path, info, _ = made
    assert info.quantisation is not None
    runtime, again = (open_quantised(path, info, info.quantisation) for _ in range(2))
    images = np.concatenate([sample.images[:6], probe_images(info.preprocess.shape)])
    _, together = runtime(images)
    for run in (runtime, runtime.on_one_core, again):
        np.testing.assert_array_equal(np.concatenate([run(image[None])[1] for image in images]), together)
        np.testing.assert_array_equal(run(images[:4])[1], together[:4])


def test_f7_is_scaled_to_unit_length_if_the_network_requires_it(made: Made, copy: Path, sample: LoadedImages) -> None:
    unit = replace(read_info(copy), feature_norm="unit")
    weights = load_file(copy.with_suffix(".safetensors"))
    info = save_weights(weights, unit, copy.parent)
    runtime = open_runtime(copy, info, "auto", "f32", copy.parent)
    assert isinstance(runtime, UnitLength)
    raw = open_runtime(made[0], made[1], "auto", "f32", copy.parent)(sample.images)[1]
    for run in (runtime, runtime.on_one_core):
        together, alone = run(sample.images)[1], run(sample.images[:1])[1]
        np.testing.assert_allclose(together, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=1e-5)
        np.testing.assert_array_equal(alone, together[:1])


def test_evaluate_measures_a_quantised_network(made: Made, folder: Path, tmp_path: Path) -> None:
    found = evaluate(made[0], folder, tmp_path / "report", pool=10)
    assert (found["checkpoint"]["precision"], found["checkpoint"]["fingerprint"]) == ("int8", made[1].fingerprint)
    assert found["modes"]["es"]["precision"]["1"] == 1


def test_folder_without_labels_gives_no_precision(checkpoint_path: Path, tmp_path: Path) -> None:
    source = open_source(str(checkpoint_path), "int8")
    for path in coloured_folder(tmp_path / "labelled", per_class=14).rglob("*.png"):
        path.rename(tmp_path / f"{path.parent.name}-{path.name}")
    shutil.rmtree(tmp_path / "labelled")
    images = load_sample(tmp_path, source.info.preprocess, lambda _done, _total: None)
    _, found = quantise(source, images, tmp_path / "out", silent)
    assert found.quantised.es.precision is found.f32.hds.precision is None
    assert found.quantised.hds.recall > 0.5


def test_too_few_images_are_refused() -> None:
    few = LoadedImages(np.zeros((MIN_IMAGES - 1, 8, 8, 3), np.uint8), np.zeros(MIN_IMAGES - 1, np.int64), ())
    with pytest.raises(DatasetError, match=r"needs 32 readable images or more, and there are 31\. Add images"):
        split(few)


def test_calibration_and_measurement_have_no_image_in_common() -> None:
    images = np.arange(1000, dtype=np.uint16).view(np.uint8).reshape(1000, 1, 1, 2)
    calibration, measured = split(LoadedImages(images, np.arange(1000), ()))
    both = [set(map(bytes, part.reshape(-1, 2))) for part in (calibration, measured.images)]
    assert (len(both[0]), len(both[1]), len(both[0] & both[1])) == (300, 700, 0)
    np.testing.assert_array_equal(measured.images.reshape(-1, 2).copy().view(np.uint16)[:, 0], measured.labels)


def test_unknown_precision_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"Unknown precision int4\. Choose one of int8, bf16\."):
        open_source("general-small", "int4")


def test_quantised_network_is_not_quantised_again(made: Made, checkpoint_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"quantised already .int8.*{checkpoint_path.with_suffix('')}"):
        open_source(str(made[0]), "int8")


def test_missing_nncf_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ModelError, match=r"pip install 'lookalike\[quantise\]'"):
        open_source("general-small", "int8")


def test_importing_nncf_leaves_the_levels_of_other_loggers_and_handlers(caplog: pytest.LogCaptureFixture) -> None:
    import_nncf()
    logging.getLogger("app").warning("still captured")
    logging.getLogger("nncf").warning("not captured")
    assert [record.getMessage() for record in caplog.records] == ["still captured"]


@pytest.mark.parametrize(("precision", "needed"), [("int8", "avx2"), ("bf16", "avx512_bf16 or amx_bf16")])
def test_cpu_without_the_instructions_is_refused(
    precision: str, needed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpu_with(monkeypatch, tmp_path, "sse4_2")
    with pytest.raises(ConfigError, match=rf"{precision} needs a CPU with .*{needed}.* this one has none of them"):
        open_source("general-small", precision)


def test_bf16_is_made_where_the_cpu_has_it(checkpoint_path: Path, sample: LoadedImages, tmp_path: Path) -> None:
    if instructions.missing_instructions("bf16"):
        with pytest.raises(ConfigError, match="bf16 needs a CPU with avx512_bf16 or amx_bf16"):
            open_source(str(checkpoint_path), "bf16")
        return
    info, found = quantise(open_source(str(checkpoint_path), "bf16"), sample, tmp_path / "bf16", silent)
    assert info.fingerprint != read_info(checkpoint_path).fingerprint
    assert found.cosine > 0.99
    load(tmp_path / "bf16.json")
