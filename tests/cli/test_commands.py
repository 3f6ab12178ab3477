"""The commands over the catalogue, run in this process with the shipped network and a database of their own."""

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
from app.catalogue.generations import DEFAULT_MODEL
from app.cli.main import app as commands
from app.demo.catalogue import DemoPicture, demo_pictures
from app.search.decode.confinement import offered
from tests.cli.output import said
from tests.pictures import corners, encoded, gradient

# OpenVINO converts through it.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

NAMES = sorted(getattr(get_command(commands), "commands", ()))
NOWHERE = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"


def run(data: Path, *words: str, **variables: str) -> Result:
    return CliRunner().invoke(commands, words, env={"LOOKALIKE_DATA_DIR": str(data), **variables})


def failed(result: Result) -> str:
    """The sentence of a command that gave up."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    return " ".join(result.stderr.split())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures, one of them without a subfolder, and all that people have between their pictures."""
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
    """A catalogue that was filled from the folder."""
    data = tmp_path_factory.mktemp("commands") / "data"
    result = run(data, "index", str(folder))
    assert result.exit_code == 1, "something was refused"
    assert "3 created" in said(result)
    assert "2 rejected" in said(result)
    assert "broken.jpg: The file is not in a supported image format" in said(result)
    assert "gone.png: There is no such file." in said(result)
    return data


def test_indexing_a_folder_again_changes_nothing(data: Path, folder: Path) -> None:
    result = run(data, "index", str(folder))
    assert result.exit_code == 1
    assert "3 unchanged" in said(result)
    assert "created" not in said(result)


def test_a_search_shows_what_looks_like_a_picture_the_nearest_first(data: Path, folder: Path) -> None:
    result = run(data, "search", str(folder / "shop" / "boots" / "one.png"), "-k", "2")
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if "│" in line]
    assert len(rows) == 2
    assert all(word in rows[0] for word in ("shop/boots/one.png", "boots", "0.0000"))


def test_stats_count_the_catalogue(data: Path) -> None:
    result = run(data, "stats")
    assert result.exit_code == 0, result.output
    assert "3 pictures, 1 labels" in said(result)
    assert f"network {DEFAULT_MODEL}" in said(result)


def test_pictures_that_are_as_good_as_the_same_are_listed_together(tmp_path: Path) -> None:
    pictures, data = tmp_path / "pictures", tmp_path / "data"
    pictures.mkdir()
    one, other = (picture.image.convert("RGB") for picture in islice(demo_pictures(), 2))
    (pictures / "boot.png").write_bytes(encoded(one, "PNG"))
    (pictures / "again.jpg").write_bytes(encoded(one, "JPEG"))
    (pictures / "other.png").write_bytes(encoded(other, "PNG"))
    assert run(data, "index", str(pictures)).exit_code == 0
    result = run(data, "duplicates")
    assert result.exit_code == 0, result.output
    (group,) = [line for line in result.stdout.splitlines() if ": " in line]
    assert set(group.replace(":", "").split()) >= {"boot.png", "again.jpg"}
    assert "other.png" not in said(result)
    assert "1 group of pictures" in said(result)
    assert "no groups of pictures within 0.000" in said(run(data, "duplicates", "--max-distance", "0"))


def test_the_demo_stays_out_of_a_catalogue_that_has_pictures(data: Path) -> None:
    assert "stays out" in said(run(data, "demo"))
    assert "3 pictures," in said(run(data, "stats"))


def test_the_demo_fills_an_empty_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few() -> Iterator[DemoPicture]:
        return islice(demo_pictures(), 3)

    monkeypatch.setattr(app.demo.fill, "demo_pictures", few)
    result = run(tmp_path / "data", "demo", LOOKALIKE_DEMO="off")
    assert result.exit_code == 0, result.output
    assert "3 pictures added" in said(result)


def test_migrating_makes_the_tables_and_may_be_done_again(data: Path, database_url: str) -> None:
    for _ in range(2):
        assert "up to date" in said(run(data, "migrate", LOOKALIKE_DATABASE_URL=database_url))
    assert "0 pictures" in said(run(data, "stats", LOOKALIKE_DATABASE_URL=database_url))


def test_a_backup_comes_back_and_one_that_lacks_an_original_says_which(data: Path, tmp_path: Path) -> None:
    backup, new = tmp_path / "backup", tmp_path / "new"
    assert "3 pictures, seq" in said(run(data, "backup", str(backup)))
    (lost, *_) = (path for path in (backup / "pictures").rglob("*") if path.is_file())
    whole = lost.read_bytes()
    lost.unlink()
    sentence = failed(run(new, "restore", str(backup)))
    assert "1 of 3 pictures have no intact original" in sentence
    assert lost.name in sentence
    assert "0 pictures" in said(run(new, "stats"))
    result = run(new, "restore", str(backup), "--allow-missing")
    assert result.exit_code == 0, result.output
    assert "3 pictures are back. The originals of 1 of them are missing:" in said(result)
    assert "The catalogue is not empty" in failed(run(new, "restore", str(backup)))
    lost.write_bytes(whole)
    result = run(tmp_path / "newer", "restore", str(backup))
    assert "3 pictures are back. `lookalike check` looks" in said(result)
    assert "All is well." in said(run(tmp_path / "newer", "check"))


def test_a_backup_that_cannot_be_written_says_so(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    assert "The backup was not made" in failed(run(data, "backup", str(tmp_path / "file" / "backup")))


def test_what_cannot_be_is_said_in_a_sentence(data: Path, folder: Path) -> None:
    assert "is not there" in failed(run(data, "index", str(folder / "nowhere")))
    assert "is not a file" in failed(run(data, "search", str(folder)))
    assert "not in a supported image format" in failed(run(data, "search", str(folder / "notes.txt")))
    assert "LOOKALIKE_PORT" in failed(run(data, "stats", LOOKALIKE_PORT="a thousand"))
    assert "database cannot be used" in failed(run(data, "stats", LOOKALIKE_DATABASE_URL=NOWHERE))
    network = failed(run(data, "search", str(folder / "loose.JPG"), LOOKALIKE_MODEL="unheard-of"))
    assert "no checkpoint unheard-of" in network
    assert "clothing" in network, "it names those that there are"


@pytest.mark.parametrize("name", NAMES)
def test_every_command_says_what_it_does_and_takes(tmp_path: Path, name: str) -> None:
    result = run(tmp_path, name, "--help")
    assert result.exit_code == 0
    assert f" {name} " in said(result)
    assert len(said(result)) > 100
    assert list(tmp_path.iterdir()) == [], "asking starts nothing"


def test_without_a_command_it_lists_them(tmp_path: Path) -> None:
    assert {"serve", "index", "search", "stats", "demo", "migrate"} <= set(NAMES)
    result = run(tmp_path, "--help")
    assert all(name in said(result) for name in NAMES)


def test_a_benchmark_that_there_is_not_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "There is no benchmark speed; there are core" in failed(run(tmp_path, "bench", "speed"))
    monkeypatch.setattr("app.cli.bench.CHECKOUT", tmp_path)
    assert "Run them in a checkout" in failed(run(tmp_path, "bench", "core"))


def test_a_benchmark_prints_a_table_and_keeps_json(tmp_path: Path) -> None:
    # The installed command, because only that cannot import what lies in the checkout.
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


def test_a_misspelt_setting_is_told(tmp_path: Path) -> None:
    result = run(tmp_path, "models", LOOKALIKE_MAX_PICTURE_BYTE="1000")
    assert result.exit_code == 0
    assert "LOOKALIKE_MAX_PICTURE_BYTE is not a setting and changes nothing." in result.stderr
    assert "Did you mean LOOKALIKE_MAX_IMAGE_BYTES?" in " ".join(result.stderr.split())


def test_settings_spelt_right_say_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "models", LOOKALIKE_MAX_IMAGE_BYTES="1000").stderr == ""


def test_check_says_what_confines_decoding(data: Path) -> None:
    result = run(data, "check", "--sample", "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [offered().sentence, "All is well."]
