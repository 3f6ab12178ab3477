"""Learning from a catalogue: train, compare, move there, report, and move back, as a person does it."""

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from models.checkpoint.info import read_info
from models.evaluation.metrics import accuracy
from tests.cli.output import said
from tests.cli.test_commands import failed, run
from tests.models.folders import coloured_folder

# OpenVINO converts through it.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

QUICKLY = (
    "--backbone",
    "small",
    "--no-pretrained",
    "--bits",
    "16",
    "--image-size",
    "24",
    "--epochs",
    "3",
    "--batch-size",
    "8",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue of pictures in three colours, which are their labels."""
    data = tmp_path_factory.mktemp("training") / "data"
    folder = coloured_folder(tmp_path_factory.mktemp("colours"), per_class=40)
    result = run(data, "index", str(folder))
    assert "120 created" in said(result), result.output
    return data


def test_a_catalogue_is_learnt_from_compared_moved_and_moved_back(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "colours"
    trained = run(data, "train", "--catalogue", "--out", str(out), *QUICKLY)
    assert trained.exit_code == 0, trained.output
    assert "of 10 results" in said(trained).lower()
    assert "that it did not learn from" in said(trained)
    assert read_info(out.with_suffix(".json")).classes == ("blue", "green", "red")
    assert sorted(path.name for path in out.parent.iterdir()) == ["colours.json", "colours.safetensors"]
    moved = run(data, "reindex", str(out))
    assert moved.exit_code == 0, moved.output
    assert "network" in said(run(data, "stats"))
    again = run(data, "train", "--catalogue", "--out", str(out), *QUICKLY)
    assert "Name another place with --out" in failed(again)
    reported = run(data, "report", "--queries", "50", "--out", str(tmp_path / "report"))
    assert reported.exit_code == 0, reported.output
    assert "Recommended: a pool of" in said(reported)
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (found["network"]["name"], found["catalogue"]["labels"], found["queries"]) == ("colours", 3, 50)
    assert found["precision"]["exact"] > 0.9
    back = run(data, "reindex", "general")
    assert "use general" in said(back)


def test_pictures_are_packed_and_learnt_from(tmp_path: Path) -> None:
    folder, packed, out = coloured_folder(tmp_path / "colours", per_class=20), tmp_path / "packed", tmp_path / "net"
    (folder / "red" / "torn.jpg").write_bytes(b"no picture")
    result = run(tmp_path, "make-shards", str(folder), str(packed), "--images-per-shard", "20")
    assert result.exit_code == 0, result.output
    assert "torn.jpg cannot be read as a picture and is left out" in said(result)
    assert "60 pictures in 4 archives" in said(result)
    trained = run(tmp_path, "train", str(packed), "--out", str(out), *QUICKLY)
    assert trained.exit_code == 0, trained.output
    assert read_info(out.with_suffix(".json")).classes == ("blue", "green", "red")
    assert "already contains archives" in failed(run(tmp_path, "make-shards", str(folder), str(packed)))


def stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_a_run_that_was_stopped_goes_on_and_one_that_is_finished_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = coloured_folder(tmp_path / "colours", per_class=20), tmp_path / "runs" / "mine"
    train = ("train", str(folder), "--out", str(out), *QUICKLY)
    epochs = iter([accuracy])

    def judge_once(*given: Any) -> float:
        return next(epochs, stop)(*given)

    with monkeypatch.context() as patched:
        patched.setattr("models.training.train.accuracy", judge_once)
        assert "The same command goes on" in failed(run(tmp_path, *train))
    assert [path.name for path in out.parent.iterdir()] == ["mine.unfinished.safetensors"]
    gone_on = run(tmp_path, *train)
    assert gone_on.exit_code == 0, gone_on.output
    assert "epoch 2:" in said(gone_on)
    assert "epoch 1:" not in said(gone_on)
    finished = {path: path.read_bytes() for path in out.parent.iterdir()}
    assert len(finished) == 2
    for again in (train, ("fit", str(folder), "--out", str(out)), ("train", "--catalogue", "--out", str(out))):
        refused = failed(run(tmp_path, *again))
        assert f"{out} is a finished network" in refused
        assert "Name another place with --out" in refused
    assert {path: path.read_bytes() for path in out.parent.iterdir()} == finished
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours", "runs"], "no catalogue was opened for that"
    for path in finished:
        path.unlink()
    assert run(tmp_path, *train).exit_code == 0, "its place is free again"


def test_a_comparison_that_was_stopped_is_made_by_the_same_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "colours"
    train = ("train", "--catalogue", "--out", str(out), *QUICKLY, "--epochs", "1")
    with monkeypatch.context() as patched:
        patched.setattr("app.cli.fine_tune._judge", stop)
        assert run(data, *train).exit_code != 0
    assert out.with_suffix(".json").exists()
    again = run(data, *train)
    assert again.exit_code == 0, again.output
    assert "of 10 results" in said(again).lower()


def test_a_report_without_a_folder_goes_where_the_service_finds_it(data: Path) -> None:
    result = run(data, "report", LOOKALIKE_SEARCH_POOL="50")
    assert result.exit_code == 0, result.output
    assert json.loads((data / "report" / "report.json").read_text())["pool"] == 50
    assert (data / "report" / "report.html").exists()


def test_what_cannot_be_learnt_from_is_said_in_a_sentence(tmp_path: Path, database_url: str) -> None:
    assert "Name a folder" in failed(run(tmp_path, "train"))
    assert "Name a folder" in failed(run(tmp_path, "train", str(tmp_path), "--catalogue"))
    run(tmp_path, "migrate", LOOKALIKE_DATABASE_URL=database_url)
    empty = run(tmp_path, "train", "--catalogue", LOOKALIKE_DATABASE_URL=database_url)
    assert "The catalogue has no labels" in failed(empty)
    assert "The catalogue is empty" in failed(run(tmp_path, "report", LOOKALIKE_DATABASE_URL=database_url))
