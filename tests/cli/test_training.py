"""Training commands, and fine-tuning on a catalogue end to end: train, compare, reindex, report, reindex back."""

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest

from models.checkpoint.info import read_info
from models.training.measure import epoch_scores
from tests.cli.output import output_of
from tests.cli.test_commands import error_of, run
from tests.models.folders import coloured_folder

# Used by OpenVINO's conversion.
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
    """A catalogue of images in three colours, which are their labels."""
    data = tmp_path_factory.mktemp("training") / "data"
    folder = coloured_folder(tmp_path_factory.mktemp("colours"), per_class=40)
    result = run(data, "index", str(folder))
    assert "120 created" in output_of(result), result.output
    return data


@pytest.mark.slow
def test_catalogue_is_fine_tuned_reindexed_reported_and_reindexed_back(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "colours"
    trained = run(data, "train", "--catalogue", "--out", str(out), *QUICKLY)
    assert trained.exit_code == 0, trained.output
    assert "of 10 results" in output_of(trained).lower()
    assert "that it was not trained on" in output_of(trained)
    assert read_info(out.with_suffix(".json")).classes == ("blue", "green", "red")
    written = ["colours.json", "colours.log.csv", "colours.safetensors"]
    assert sorted(path.name for path in out.parent.iterdir()) == written
    moved = run(data, "reindex", str(out))
    assert moved.exit_code == 0, moved.output
    assert "colours.json" in output_of(run(data, "stats")).replace(" ", "")
    again = run(data, "train", "--catalogue", "--out", str(out), *QUICKLY)
    assert "Choose another path with --out" in error_of(again)
    reported = run(data, "report", "--queries", "50", "--out", str(tmp_path / "report"))
    assert reported.exit_code == 0, reported.output
    assert "Recommended: a pool of" in output_of(reported)
    found = json.loads((tmp_path / "report" / "report.json").read_text())
    assert (found["network"]["name"], found["catalogue"]["labels"], found["queries"]) == ("colours", 3, 50)
    assert found["precision"]["exact"] > 0.9
    back = run(data, "reindex", "general")
    assert "now use general" in output_of(back)


def test_training_on_shards_from_make_shards(tmp_path: Path) -> None:
    folder, packed, out = coloured_folder(tmp_path / "colours", per_class=20), tmp_path / "packed", tmp_path / "net"
    (folder / "red" / "torn.jpg").write_bytes(b"no picture")
    result = run(tmp_path, "make-shards", str(folder), str(packed), "--images-per-shard", "20")
    assert result.exit_code == 0, result.output
    assert "torn.jpg is not a readable image and was skipped" in output_of(result)
    assert "60 images in 4 shards" in output_of(result)
    trained = run(tmp_path, "train", str(packed), "--out", str(out), *QUICKLY)
    assert trained.exit_code == 0, trained.output
    assert read_info(out.with_suffix(".json")).classes == ("blue", "green", "red")
    assert "already contains archives" in error_of(run(tmp_path, "make-shards", str(folder), str(packed)))


def stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def test_interrupted_run_continues_and_finished_checkpoint_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = coloured_folder(tmp_path / "colours", per_class=20), tmp_path / "runs" / "mine"
    train = ("train", str(folder), "--out", str(out), *QUICKLY)
    epochs = iter([epoch_scores])

    def scores_once(*args: Any) -> dict[str, float]:
        return next(epochs, stop)(*args)

    with monkeypatch.context() as patched:
        patched.setattr("models.training.train.epoch_scores", scores_once)
        assert "Run the same command again to continue" in error_of(run(tmp_path, *train))
    left = ["mine.log.csv", "mine.products.json", "mine.unfinished.safetensors"]
    assert sorted(path.name for path in out.parent.iterdir()) == left
    continued = run(tmp_path, *train)
    assert continued.exit_code == 0, continued.output
    assert "epoch 2:" in output_of(continued)
    assert "epoch 1:" not in output_of(continued)
    finished = {path: path.read_bytes() for path in out.parent.iterdir()}
    assert {path.name for path in finished} == {"mine.json", "mine.log.csv", "mine.safetensors"}
    for again in (train, ("fit", str(folder), "--out", str(out)), ("train", "--catalogue", "--out", str(out))):
        error = error_of(run(tmp_path, *again))
        assert f"{out} is a finished checkpoint" in error
        assert "Choose another path with --out" in error
    assert {path: path.read_bytes() for path in out.parent.iterdir()} == finished
    assert sorted(path.name for path in tmp_path.iterdir()) == ["colours", "runs"], "no catalogue was opened"
    for path in finished:
        path.unlink()
    assert run(tmp_path, *train).exit_code == 0, "the path is free again"


def test_interrupted_comparison_is_repeated_by_the_same_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "colours"
    train = ("train", "--catalogue", "--out", str(out), *QUICKLY, "--epochs", "1")
    with monkeypatch.context() as patched:
        patched.setattr("app.cli.models.fine_tune._compare_with_current", stop)
        assert run(data, *train).exit_code != 0
    assert out.with_suffix(".json").exists()
    again = run(data, *train)
    assert again.exit_code == 0, again.output
    assert "of 10 results" in output_of(again).lower()


def test_report_without_a_folder_is_written_to_the_data_folder(data: Path) -> None:
    result = run(data, "report", LOOKALIKE_SEARCH_POOL="50")
    assert result.exit_code == 0, result.output
    assert json.loads((data / "report" / "report.json").read_text())["pool"] == 50
    assert (data / "report" / "report.html").exists()


def test_training_without_usable_data_is_an_error(tmp_path: Path, database_url: str) -> None:
    assert "Give either a folder" in error_of(run(tmp_path, "train"))
    assert "Give either a folder" in error_of(run(tmp_path, "train", str(tmp_path), "--catalogue"))
    run(tmp_path, "migrate", LOOKALIKE_DATABASE_URL=database_url)
    empty = run(tmp_path, "train", "--catalogue", LOOKALIKE_DATABASE_URL=database_url)
    assert "The catalogue has no labels" in error_of(empty)
    assert "The catalogue is empty" in error_of(run(tmp_path, "report", LOOKALIKE_DATABASE_URL=database_url))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of images in three colours with two columns of labels; three images each are one product."""
    root = tmp_path_factory.mktemp("table")
    folder = coloured_folder(root / "pictures", per_class=24)
    lines = ["file,colour,warm,sku"]
    for path in sorted(folder.glob("*/*.png")):
        name, number = path.parent.name, int(path.stem)
        warm = "" if number % 4 == 0 else str(name == "red")
        lines.append(f"pictures/{name}/{path.name},{name},{warm},{name}{number // 3}")
    (root / "products.csv").write_text("\n".join(lines) + "\n")
    return root / "products.csv"


def test_training_from_a_table_with_two_columns_of_labels_and_products(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    options = ("--labels", "colour,warm", "--products", "sku")
    trained = run(tmp_path, "train", str(table), *options, "--out", str(out), *QUICKLY)
    assert trained.exit_code == 0, trained.output
    info = read_info(out.with_suffix(".json"))
    assert info.classes == ("blue", "green", "red", "warm: false", "warm: true")
    assert info.metrics["held_out_pictures"] == 9, "a product of each class"
    assert "near-copies" not in trained.output


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--labels", "color"), "has no column color, or no value in it. Did you mean colour?"),
        (("--labels", "colour", "--products", "skus"), "Did you mean sku?"),
        (("--labels", ","), "--labels names no column"),
        ((), "has no column label"),
    ],
)
def test_columns_that_do_not_exist_are_errors(
    table: Path, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    assert expected in error_of(run(tmp_path, "train", str(table), *options, "--out", str(tmp_path / "mine")))
    assert not list(tmp_path.iterdir())


def test_columns_need_a_table(tmp_path: Path) -> None:
    folder = coloured_folder(tmp_path / "colours", per_class=2)
    assert "names columns of a table" in error_of(run(tmp_path, "train", str(folder), "--labels", "a"))
    assert "A folder has neither" in error_of(run(tmp_path, "train", str(folder), "--products", "a"))
    assert "names columns of a table" in error_of(run(tmp_path, "train", "--catalogue", "--labels", "a"))


def test_product_field_that_no_image_has_is_an_error(data: Path, tmp_path: Path) -> None:
    failed = run(data, "train", "--catalogue", "--products", "sku", "--out", str(tmp_path / "mine"))
    assert "no labelled image has the field sku" in error_of(failed)
