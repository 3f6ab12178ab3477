"""`lookalike index` with tables: files in folders beside them, and files that are there under other keys."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from lookalike_client import Lookalike

from app.settings import Settings
from tests.api.server import serve
from tests.cli.commands import run
from tests.cli.output import output_of
from tests.images import encoded, gradient

pytestmark = pytest.mark.usefixtures("fake_network")


@pytest.fixture
def client(settings: Settings) -> Iterator[Lookalike]:
    with serve(settings) as server, Lookalike(server.url) as client:
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images."""
    (tmp_path / "images" / "hats").mkdir(parents=True)
    for at in range(5):
        (tmp_path / "images" / "hats" / f"{at}.png").write_bytes(encoded(gradient(20 + at, 20), "PNG"))
    return tmp_path / "images"


def table_of(tmp_path: Path, *rows: str) -> str:
    (tmp_path / "own").mkdir(exist_ok=True)
    (tmp_path / "own" / "t.csv").write_text("\n".join(["file,key,price", *rows, ""]))
    return str(tmp_path / "own" / "t.csv")


def keys_of(client: Lookalike) -> set[str]:
    return {image.key for image in client.list()}


def test_rows_whose_files_are_there_under_other_keys_are_counted_in_one_sentence(
    settings: Settings, client: Lookalike, where: list[str], folder: Path, tmp_path: Path
) -> None:
    assert run(settings, "index", str(folder), *where).stdout.strip() == "5 created"
    table = table_of(tmp_path, *(f"hats/{at}.png,sku-{at},{at}" for at in range(3)))
    result = run(settings, "index", table, str(folder), *where)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "3 created, 2 unchanged",
        "3 are in the catalogue already under other keys. `--on-duplicate skip` leaves them out.",
    ]
    assert len(keys_of(client)) == 8
    again = run(settings, "index", table, str(folder), *where)
    assert (again.exit_code, again.stdout.strip()) == (0, "5 unchanged")


def test_rows_whose_files_are_there_under_other_keys_are_skipped_on_request(
    settings: Settings, client: Lookalike, where: list[str], folder: Path, tmp_path: Path
) -> None:
    run(settings, "index", str(folder), *where)
    (folder / "hats" / "new.png").write_bytes(encoded(gradient(90, 20), "PNG"))
    table = table_of(tmp_path, "hats/0.png,sku-0,1", "hats/new.png,sku-new,2")
    for expected in ("1 skipped, 1 created, 4 unchanged", "1 skipped, 5 unchanged"):
        result = run(settings, "index", table, str(folder), "--on-duplicate", "skip", *where)
        assert result.exit_code == 0, result.output
        assert sorted(result.stdout.splitlines()[0].split(", ")) == sorted(expected.split(", "))
        assert result.stdout.splitlines()[1] == "1 is in the catalogue already under other keys: skipped."
    assert keys_of(client) == {*(f"hats/{at}.png" for at in range(5)), "sku-new"}


def test_wrong_folder_of_a_table_is_one_line_with_the_path_tried(
    settings: Settings, client: Lookalike, where: list[str], tmp_path: Path
) -> None:
    table, report = table_of(tmp_path, *(f"wrong/{at}.png,K{at},1" for at in range(300))), tmp_path / "report.csv"
    result = run(settings, "index", table, "--rejections", str(report), *where)
    assert result.exit_code == 1
    lines = [line for line in output_of(result).split(table) if "exist" in line]
    assert len(lines) == 1
    assert f"The files of all its 300 rows do not exist. Tried {tmp_path}/own/wrong/0.png." in lines[0]
    with report.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["name"], "Tried" in row["reason"]) == (table, True)
    assert keys_of(client) == set()


def test_table_finds_its_files_in_the_folder_beside_it(
    settings: Settings, client: Lookalike, where: list[str], folder: Path, tmp_path: Path
) -> None:
    table = table_of(tmp_path, "hats/0.png,sku-0,10", "hats/1.png,,20")
    result = run(settings, "index", str(folder), table, *where)
    assert (result.exit_code, result.stdout.strip()) == (0, "5 created"), result.output
    found = {image.key: (image.label, image.metadata) for image in client.list()}
    assert found["sku-0"] == (None, {"price": 10})
    assert found["hats/1.png"] == (None, {"price": 20})
    assert found["hats/2.png"] == ("hats", {})


def test_unknown_choice_for_duplicates_is_a_usage_error(settings: Settings, folder: Path) -> None:
    result = run(settings, "index", str(folder), "--on-duplicate", "replace")
    assert result.exit_code == 2
    assert "add" in output_of(result)
