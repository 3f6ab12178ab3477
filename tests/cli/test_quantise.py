"""`lookalike quantise` on a catalogue, end to end: quantise, reindex, search, evaluate; and its errors."""

import json
import re
from pathlib import Path

import pytest

from models.checkpoint.info import CheckpointInfo, read_info
from tests.cli.output import output_of
from tests.cli.test_commands import error_of, run
from tests.cli.test_training import QUICKLY
from tests.models.folders import coloured_folder

# Used by OpenVINO's conversion.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured_folder(tmp_path_factory.mktemp("colours"), per_class=20)


@pytest.fixture(scope="module")
def network(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network that was trained on the folder."""
    out = tmp_path_factory.mktemp("network") / "colours"
    result = run(out.parent / "data", "train", str(folder), "--out", str(out), *QUICKLY)
    assert result.exit_code == 0, result.output
    return out


@pytest.mark.slow
def test_catalogue_is_quantised_reindexed_searched_and_evaluated(folder: Path, network: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "runs" / "small-int8"
    indexed = run(data, "index", str(folder), LOOKALIKE_MODEL=str(network))
    assert "60 created" in output_of(indexed), indexed.output
    made = run(data, "quantise", str(network), "--catalogue", "--precision", "int8", "--out", str(out))
    assert made.exit_code == 0, made.output
    words = output_of(made)
    assert re.search(
        r"30 images: mean cosine of F7 0\.9\d+; mean L2 [\d.]+, where .* of 16 bits of a code differ", words
    )
    for row in ("P@10, es", "recall@10, es", "P@10, hds", "recall@10, hds", "ms, one image", "ms, in batches"):
        assert row in words
    info = read_info(out.with_suffix(".json"))
    assert f"fingerprint {info.fingerprint}" in words

    moved = run(data, "reindex", str(out))
    assert f"now use small-int8 ({info.fingerprint})" in output_of(moved), moved.output
    found = run(data, "search", str(folder / "red" / "0.png"), "--json")
    assert found.exit_code == 0, found.output
    first = json.loads(found.stdout)["results"][0]
    assert (first["label"], first["distance"]) == ("red", 0), "an image is at distance 0 from itself"
    checked = run(data, "check")
    assert "No problems found" in output_of(checked), checked.output

    evaluated = run(data, "evaluate", str(out), str(folder), "--out", str(tmp_path / "report"))
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads((tmp_path / "report" / "metrics.json").read_text())["checkpoint"]["precision"] == "int8"
    listed = output_of(run(data, "models", str(out), COLUMNS="300"))
    assert f"int8, from {network}" in listed
    again = run(data, "quantise", str(network), "--catalogue", "--precision", "int8", "--out", str(out))
    assert "finished checkpoint" in error_of(again)


def test_replica_that_cannot_run_the_network_does_not_start(folder: Path, network: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "int8"
    made = run(data, "quantise", str(network), "--images", str(folder), "--precision", "int8", "--out", str(out))
    assert made.exit_code == 0, made.output
    shown: CheckpointInfo = read_info(out.with_suffix(".json"))
    assert shown.precision == "int8"
    refused = run(data, "index", str(folder), LOOKALIKE_MODEL=str(out), LOOKALIKE_DEVICE="cuda")
    assert "LOOKALIKE_DEVICE: int8 (int8) runs on CPUs. Set it to auto." in error_of(refused)
    out.with_suffix(".safetensors").unlink()
    refused = run(data, "index", str(folder), LOOKALIKE_MODEL=str(out))
    assert "int8.safetensors cannot be read as safetensors" in error_of(refused)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("general-small", "--precision", "int8"), "Give either --images FOLDER or --catalogue"),
        (("general-small", "--precision", "int8", "--catalogue", "--images", "x"), "Give either --images FOLDER"),
        (
            ("general-small", "--precision", "int4", "--images", "x"),
            "Unknown precision int4. Choose one of int8, bf16.",
        ),
        (("general-small", "--precision", "int8", "--images", "nowhere"), "nowhere is not a folder"),
        (("nothing", "--precision", "int8", "--images", "x"), "There is no checkpoint nothing"),
        (("general-small", "--precision", "int8", "--catalogue"), "The catalogue is empty"),
    ],
    ids=["no images", "two sources", "precision", "folder", "network", "empty catalogue"],
)
def test_bad_input_is_an_error(words: tuple[str, ...], problem: str, tmp_path: Path) -> None:
    assert problem in error_of(run(tmp_path / "data", "quantise", *words, "--out", str(tmp_path / "out")))
    assert not (tmp_path / "out.json").exists()
