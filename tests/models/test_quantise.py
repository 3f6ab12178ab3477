"""Quantised checkpoints: what they contain, what they compute, and every reason not to open one."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from app.errors import InvalidInputError
from app.search.encode.runtimes import open_runtime
from models.checkpoint.files import load, save_weights
from models.checkpoint.info import CheckpointInfo, read_info
from models.data.dataset import LoadedImages, read_splits
from models.errors import CheckpointError, ConfigError, DatasetError, ModelError
from models.evaluation.evaluate import evaluate
from models.network import instructions
from models.network.codes import binarise
from models.network.encode import encode, encoder
from models.network.openvino_runtime import openvino_version
from models.network.quantised import GRAPH, PROBES, UnitLength, open_quantised, probe_images
from models.quantisation.comparison import Comparison
from models.quantisation.quantise import MIN_IMAGES, open_source, quantise, split
from models.quantisation.sample import load_sample
from models.training.config import TrainingConfig
from models.training.train import train
from tests.models.folders import coloured_folder

# OpenVINO's converter uses torch's deprecated tracing.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]

BITS = 16
Made = tuple[Path, CheckpointInfo, Comparison]
Tensors = dict[str, torch.Tensor]


def silent(_step: str, _done: int, _total: int) -> None:
    pass


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


def cpu_with(monkeypatch: pytest.MonkeyPatch, folder: Path, *flags: str) -> None:
    """Let the CPU have these flags alone."""
    (folder / "cpuinfo").write_text(f"model name : none\nflags\t\t: fpu {' '.join(flags)}\n")
    monkeypatch.setattr(instructions, "CPUINFO", folder / "cpuinfo")


def rewrite(path: Path, change: Callable[[Tensors], Mapping[str, torch.Tensor]]) -> CheckpointInfo:
    """Change the weights of a checkpoint, with a fingerprint that is right."""
    weights = load_file(path.with_suffix(".safetensors"))
    return save_weights(change(weights), read_info(path), path.parent)


def open_changed(path: Path) -> None:
    info = read_info(path)
    assert info.quantisation is not None
    open_quantised(path, info, info.quantisation)


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


@pytest.mark.parametrize(("precision", "needed"), [("int8", "avx2"), ("bf16", "avx512_bf16 or amx_bf16")])
def test_cpu_without_the_instructions_is_refused(
    precision: str, needed: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpu_with(monkeypatch, tmp_path, "sse4_2")
    with pytest.raises(ConfigError, match=rf"{precision} needs a CPU with .*{needed}.* this one has none of them"):
        open_source("general-small", precision)


def test_replica_without_the_instructions_does_not_open_it(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cpu_with(monkeypatch, tmp_path, "sse4_2")
    with pytest.raises(CheckpointError, match=r"tiny-int8.json: int8 needs a CPU with avx2.*lookalike reindex .*tiny"):
        open_runtime(made[0], made[1], "auto", "f32", tmp_path)


def test_machine_with_other_results_does_not_open_it(copy: Path) -> None:
    rewrite(copy, lambda weights: weights | {PROBES: weights[PROBES] * (1 + 1e-4)})
    with pytest.raises(
        CheckpointError, match=r"computes other F7 than OpenVINO .*cannot be compared.*lookalike reindex"
    ):
        open_changed(copy)


def test_sums_in_another_order_are_no_other_results(copy: Path) -> None:
    rewrite(copy, lambda weights: weights | {PROBES: weights[PROBES] * (1 + 1e-6)})
    open_changed(copy)


def test_network_that_openvino_cannot_read_is_refused(copy: Path) -> None:
    rewrite(copy, lambda weights: weights | {GRAPH: torch.frombuffer(bytearray(b"<net/>"), dtype=torch.uint8)})
    with pytest.raises(CheckpointError, match=r"tiny-int8.json: OpenVINO .* cannot run it: "):
        open_changed(copy)


def test_checkpoint_without_the_network_is_refused(copy: Path) -> None:
    rewrite(copy, lambda weights: {name: value for name, value in weights.items() if name != GRAPH})
    with pytest.raises(CheckpointError, match=rf"tiny-int8.safetensors lacks {GRAPH}\. Restore the file"):
        open_changed(copy)


@pytest.mark.parametrize("damage", ["changed", "truncated", "missing"])
def test_damaged_weights_are_refused(copy: Path, damage: str) -> None:
    weights = copy.with_suffix(".safetensors")
    content = weights.read_bytes()
    match damage:
        case "changed":
            weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case "truncated":
            weights.write_bytes(content[: len(content) // 2])
        case _:
            weights.unlink()
    with pytest.raises(CheckpointError, match=r"fingerprint does not match|Restore the file"):
        load(copy)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"precision": "int4"}, "'int4', not one of int8, bf16. A newer version"),
        ({"openvino": "2020.1"}, "the fingerprint does not match"),
        ({"scale": 1}, "unknown ones: scale. A newer version"),
    ],
    ids=["precision", "version", "field"],
)
def test_changed_description_is_refused(copy: Path, change: dict[str, object], problem: str) -> None:
    described = json.loads(copy.read_text())
    described["quantisation"] |= change
    copy.write_text(json.dumps(described))
    with pytest.raises(CheckpointError, match=problem):
        load(copy)


def test_settings_of_other_networks_do_not_apply(made: Made, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"LOOKALIKE_DEVICE: tiny-int8 .int8. runs on CPUs"):
        open_runtime(made[0], made[1], "cuda", "f32", tmp_path)
    with pytest.raises(InvalidInputError, match=r"LOOKALIKE_INFERENCE_PRECISION: tiny-int8 has its own precision"):
        open_runtime(made[0], made[1], "auto", "bf16", tmp_path)


def test_training_does_not_start_from_a_quantised_network(made: Made, folder: Path, tmp_path: Path) -> None:
    config = TrainingConfig(backbone="efficientnet_lite0", bits=BITS, size=40, start=str(made[0]), epochs=1)
    with pytest.raises(CheckpointError, match=r"quantised .int8. and has no weights to train\. Start from .*tiny"):
        train(read_splits(folder), tmp_path / "net", config)


def test_bf16_is_made_where_the_cpu_has_it(checkpoint_path: Path, sample: LoadedImages, tmp_path: Path) -> None:
    if instructions.missing_instructions("bf16"):
        with pytest.raises(ConfigError, match="bf16 needs a CPU with avx512_bf16 or amx_bf16"):
            open_source(str(checkpoint_path), "bf16")
        return
    info, found = quantise(open_source(str(checkpoint_path), "bf16"), sample, tmp_path / "bf16", silent)
    assert info.fingerprint != read_info(checkpoint_path).fingerprint
    assert found.cosine > 0.99
    load(tmp_path / "bf16.json")


def test_bf16_setting_is_refused_where_openvino_would_compute_in_f32(checkpoint_path: Path, tmp_path: Path) -> None:
    if "avx512f" in Path("/proc/cpuinfo").read_text():
        open_runtime(checkpoint_path, read_info(checkpoint_path), "cpu", "bf16", tmp_path)
        return
    with pytest.raises(InvalidInputError, match=r"LOOKALIKE_INFERENCE_PRECISION: .*does not compute in bf16.*f32"):
        open_runtime(checkpoint_path, read_info(checkpoint_path), "cpu", "bf16", tmp_path)
