"""Every reason not to open a quantised checkpoint."""

import json
from pathlib import Path

import pytest
import torch

from app.errors import InvalidInputError
from app.search.encode.runtimes import open_runtime
from models.checkpoint.files import load
from models.checkpoint.info import read_info
from models.data.dataset import read_splits
from models.errors import CheckpointError
from models.network.quantised import GRAPH, PROBES
from models.training.config import TrainingConfig
from models.training.train import train
from tests.models.quantisation.steps import BITS, Made, cpu_with, open_changed, rewrite

# OpenVINO's converter uses torch's deprecated tracing.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning"),
    pytest.mark.usefixtures("one_thread"),
]


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


def test_bf16_setting_is_refused_where_openvino_would_compute_in_f32(checkpoint_path: Path, tmp_path: Path) -> None:
    if "avx512f" in Path("/proc/cpuinfo").read_text():
        open_runtime(checkpoint_path, read_info(checkpoint_path), "cpu", "bf16", tmp_path)
        return
    with pytest.raises(InvalidInputError, match=r"LOOKALIKE_INFERENCE_PRECISION: .*does not compute in bf16.*f32"):
        open_runtime(checkpoint_path, read_info(checkpoint_path), "cpu", "bf16", tmp_path)
