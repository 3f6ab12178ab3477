"""Catalogue commands, run in this process with the shipped model and a separate database."""

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

import app.demo.fill
from app.catalogue.index_versions import DEFAULT_MODEL
from app.cli.main import app as commands
from app.demo.catalogue import DemoImage, demo_images
from app.search.decode.confinement import probe_confinement
from tests.cli.output import output_of
from tests.images import corners, encoded, gradient

# Used by OpenVINO's conversion.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

NAMES = sorted(getattr(get_command(commands), "commands", ()))
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


def run(data: Path, *words: str, **variables: str) -> Result:
    return CliRunner().invoke(commands, words, env={"LOOKALIKE_DATA_DIR": str(data), **variables})


def error_of(result: Result) -> str:
    """Assert that a command failed and return its error message."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, one of them outside subfolders, among other files: broken, not an image, folder, dangling link."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "shop" / "boots").mkdir(parents=True)
    (folder / "shop" / "boots" / "one.png").write_bytes(encoded(gradient(), "PNG"))
    (folder / "loose.JPG").write_bytes(encoded(corners(), "JPEG"))
    (folder / os.fsdecode(b"caf\xe9.gif")).write_bytes(encoded(corners(30, 30), "GIF"))
    (folder / "broken.jpg").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("no picture either")
    (folder / "folder.png").mkdir()
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """A catalogue filled from the folder."""
    data = tmp_path_factory.mktemp("commands") / "data"
    result = run(data, "index", str(folder))
    assert result.exit_code == 1, "two entries are rejected"
    assert "3 created" in output_of(result)
    assert "2 rejected" in output_of(result)
    assert "broken.jpg: The file is not in a supported image format" in output_of(result)
    assert "gone.png: The file does not exist." in output_of(result)
    return data


def test_indexing_a_folder_again_changes_nothing(data: Path, folder: Path) -> None:
    result = run(data, "index", str(folder))
    assert result.exit_code == 1
    assert "3 unchanged" in output_of(result)
    assert "created" not in output_of(result)


def test_search_lists_results_by_similarity(data: Path, folder: Path) -> None:
    result = run(data, "search", str(folder / "shop" / "boots" / "one.png"), "-k", "2")
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if "│" in line]
    assert len(rows) == 2
    assert all(word in rows[0] for word in ("shop/boots/one.png", "boots", "1.000"))


def test_stats_prints_counts_and_the_model(data: Path) -> None:
    result = run(data, "stats")
    assert result.exit_code == 0, result.output
    assert "3 images, 1 labels" in output_of(result)
    assert f"model {DEFAULT_MODEL}" in output_of(result)


def test_duplicates_lists_copies_in_groups(tmp_path: Path) -> None:
    pictures, data = tmp_path / "pictures", tmp_path / "data"
    pictures.mkdir()
    one, other = (picture.image.convert("RGB") for picture in islice(demo_images(), 2))
    (pictures / "boot.png").write_bytes(encoded(one, "PNG"))
    (pictures / "again.jpg").write_bytes(encoded(one, "JPEG"))
    (pictures / "other.png").write_bytes(encoded(other, "PNG"))
    assert run(data, "index", str(pictures)).exit_code == 0
    result = run(data, "duplicates")
    assert result.exit_code == 0, result.output
    (group,) = [line for line in result.stdout.splitlines() if ": " in line]
    assert set(group.replace(":", "").split()) >= {"boot.png", "again.jpg"}
    assert "other.png" not in output_of(result)
    assert "1 group of duplicates" in output_of(result)
    assert "no groups of duplicates" in output_of(run(data, "duplicates", "--max-distance", "0"))
    near = run(data, "duplicates", "--near", "--max-distance", "100")
    assert "again.jpg: other.png" in output_of(near)
    assert "boot.png" not in output_of(near)
    assert "1 group of near-duplicates" in output_of(near)


def test_demo_does_not_change_a_catalogue_that_has_images(data: Path) -> None:
    assert "no demo images were added" in output_of(run(data, "demo"))
    assert "3 images," in output_of(run(data, "stats"))


def test_demo_fills_an_empty_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few() -> Iterator[DemoImage]:
        return islice(demo_images(), 3)

    monkeypatch.setattr(app.demo.fill, "demo_images", few)
    result = run(tmp_path / "data", "demo", LOOKALIKE_DEMO="off")
    assert result.exit_code == 0, result.output
    assert "3 images added" in output_of(result)


def test_migrate_creates_the_schema_and_is_idempotent(data: Path, database_url: str) -> None:
    for _ in range(2):
        assert "up to date" in output_of(run(data, "migrate", LOOKALIKE_DATABASE_URL=database_url))
    assert "0 images" in output_of(run(data, "stats", LOOKALIKE_DATABASE_URL=database_url))


def test_backup_is_restored_and_missing_originals_are_reported(data: Path, tmp_path: Path) -> None:
    backup, new = tmp_path / "backup", tmp_path / "new"
    assert "3 images, seq" in output_of(run(data, "backup", str(backup)))
    (lost, *_) = (path for path in (backup / "pictures").rglob("*") if path.is_file())
    whole = lost.read_bytes()
    lost.unlink()
    sentence = error_of(run(new, "restore", str(backup)))
    assert "1 of 3 images have no intact original" in sentence
    assert lost.name in sentence
    assert "0 images" in output_of(run(new, "stats"))
    result = run(new, "restore", str(backup), "--allow-missing")
    assert result.exit_code == 0, result.output
    assert "3 images were restored. The originals of 1 of them are missing:" in output_of(result)
    assert "The catalogue is not empty" in error_of(run(new, "restore", str(backup)))
    lost.write_bytes(whole)
    result = run(tmp_path / "newer", "restore", str(backup))
    assert "3 images were restored. Run `lookalike check`" in output_of(result)
    assert "No problems found." in output_of(run(tmp_path / "newer", "check"))


def test_backup_to_an_unwritable_folder_fails(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    assert "The backup was not made" in error_of(run(data, "backup", str(tmp_path / "file" / "backup")))


def test_invalid_input_is_reported_as_an_error_message(data: Path, folder: Path) -> None:
    assert "does not exist" in error_of(run(data, "index", str(folder / "nowhere")))
    assert "is not a file" in error_of(run(data, "search", str(folder)))
    assert "not in a supported image format" in error_of(run(data, "search", str(folder / "notes.txt")))
    assert "LOOKALIKE_PORT" in error_of(run(data, "stats", LOOKALIKE_PORT="a thousand"))
    assert "database is unavailable" in error_of(run(data, "stats", LOOKALIKE_DATABASE_URL=NOWHERE))
    network = error_of(run(data, "search", str(folder / "loose.JPG"), LOOKALIKE_MODEL="unheard-of"))
    assert "no checkpoint unheard-of" in network
    assert "clothing" in network, "the message lists the shipped checkpoints"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, name, "--help")
    assert result.exit_code == 0
    assert f" {name} " in output_of(result)
    assert len(output_of(result)) > 100
    assert list(tmp_path.iterdir()) == [], "help opens no catalogue"


def test_help_lists_all_commands(tmp_path: Path) -> None:
    assert {"serve", "index", "search", "stats", "demo", "migrate"} <= set(NAMES)
    result = run(tmp_path, "--help")
    assert all(name in output_of(result) for name in NAMES)


def test_unknown_benchmark_or_missing_checkout_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Unknown benchmark speed. Choose one of core" in error_of(run(tmp_path, "bench", "speed"))
    monkeypatch.setattr("app.cli.bench.CHECKOUT", tmp_path)
    assert "in a source checkout" in error_of(run(tmp_path, "bench", "core"))


@pytest.mark.slow
def test_benchmark_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    # The installed command, because only it does not have the checkout on its path.
    command = [
        sysconfig.get_path("scripts") + "/lookalike",
        "bench",
        "core",
        "--images",
        "20000",
        "--feature-dim",
        "32",
    ]
    command += ["--bits", "16", "--json", str(tmp_path / "core.json"), "--work-dir", str(tmp_path / "large")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "coarse_over_limit" in done.stdout, done.stderr
    assert (tmp_path / "core.json").exists()
    assert (tmp_path / "core.svg").exists()


def test_unknown_variable_is_reported_with_a_suggestion(tmp_path: Path) -> None:
    result = run(tmp_path, "models", LOOKALIKE_MAX_PICTURE_BYTE="1000")
    assert result.exit_code == 0
    assert "LOOKALIKE_MAX_PICTURE_BYTE is not a setting and has no effect." in result.stderr
    assert "Did you mean LOOKALIKE_MAX_IMAGE_BYTES?" in " ".join(result.stderr.split())


def test_known_settings_give_no_warning(tmp_path: Path) -> None:
    assert run(tmp_path, "models", LOOKALIKE_MAX_IMAGE_BYTES="1000").stderr == ""


def test_check_prints_the_decode_sandbox(data: Path) -> None:
    result = run(data, "check", "--sample", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [probe_confinement().summary, "No problems found."]
