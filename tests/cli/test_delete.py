"""`lookalike delete`: by key, label, filter and table, in this process and through a service."""

from pathlib import Path

import pytest
from lookalike_client import Lookalike, NewImage
from typer.testing import CliRunner

from app.cli.main import app as commands
from app.settings import Settings
from tests.cli.commands import KEYS, keys_of, run
from tests.cli.output import output_of
from tests.conftest import free_port
from tests.images import encoded, gradient

pytestmark = pytest.mark.usefixtures("fake_network")


def test_keys_are_deleted_and_no_longer_found(settings: Settings, client: Lookalike, where: list[str]) -> None:
    result = run(settings, "delete", "sku-0", "sku-3", "sku-0", "--yes", *where)
    assert (result.exit_code, result.stdout.strip()) == (0, "2 images deleted.")
    assert keys_of(client) == ["sku-1", "sku-2", "sku-4", "sku-5"]
    nearest = client.search(encoded(gradient(20, 20), "PNG"), k=6).matches
    assert {match.key for match in nearest} == {"sku-1", "sku-2", "sku-4", "sku-5"}


@pytest.mark.parametrize(
    ("selection", "left"),
    [
        (["--label", "boots"], ["sku-1", "sku-3", "sku-5"]),
        (["--filter", '{"price": {"$lt": 2}}'], KEYS[2:]),
        (["--label", "hats", "--filter", '{"price": {"$gte": 3}}'], ["sku-0", "sku-1", "sku-2", "sku-4"]),
        (["--text", "hat or 4"], ["sku-0", "sku-2"]),
        (["--label", "boots", "--text", "sku-2"], ["sku-0", "sku-1", "sku-3", "sku-4", "sku-5"]),
    ],
)
def test_label_filter_and_words_select_images(
    settings: Settings, client: Lookalike, where: list[str], selection: list[str], left: list[str]
) -> None:
    result = run(settings, "delete", *selection, "--yes", *where)
    assert result.exit_code == 0, result.output
    assert keys_of(client) == left


def test_everything_of_a_table_is_deleted(
    settings: Settings, client: Lookalike, where: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("file,key\nsold/1.jpg,sku-1\nsold/2.jpg,sku-2\ngone.jpg,sku-99\nsku-4,\n")
    result = run(settings, "delete", "--table", str(table), "--yes", *where)
    assert (result.exit_code, result.stdout.strip()) == (0, "3 images deleted.")
    assert "1 key is not in the catalogue: sku-99" in result.stderr
    assert keys_of(client) == ["sku-0", "sku-3", "sku-5"]


def test_filter_without_conditions_deletes_nothing(settings: Settings, client: Lookalike, where: list[str]) -> None:
    result = run(settings, "delete", "--filter", "{}", "--yes", *where)
    assert result.exit_code == 1
    assert "selects every image" in output_of(result)
    assert keys_of(client) == KEYS


@pytest.mark.parametrize(
    ("name", "content"), [("no-rows.csv", "file,key\n"), ("bad.csv", "file\n,x\n"), ("empty.jsonl", "")]
)
def test_table_without_keys_deletes_nothing(
    settings: Settings, client: Lookalike, where: list[str], tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    result = run(settings, "delete", "--table", str(tmp_path / name), "--yes", *where)
    assert result.exit_code == 1
    assert "Nothing was deleted" in output_of(result)
    assert keys_of(client) == KEYS


def test_keys_are_found_in_any_normalisation_form(settings: Settings, client: Lookalike, where: list[str]) -> None:
    client.add([NewImage(encoded(gradient(60, 20), "PNG"), "caf\u00e9")])
    result = run(settings, "delete", "cafe\u0301", "caf\u00e9", "--yes", *where)
    assert (result.exit_code, result.stdout.strip()) == (0, "1 image deleted.")
    assert keys_of(client) == KEYS


def test_deletion_is_confirmed_with_the_number(settings: Settings, client: Lookalike, where: list[str]) -> None:
    for answer in ("n\n", "\n", None):
        result = run(settings, "delete", "--label", "boots", *where, answer=answer)
        assert result.exit_code == 1
        assert "Delete 3 images of 6?" in output_of(result)
        assert "Nothing was deleted." in output_of(result)
        assert keys_of(client) == KEYS
    result = run(settings, "delete", "--label", "boots", *where, answer="y\n")
    assert (result.exit_code, "3 images deleted." in result.stdout) == (0, True)
    assert keys_of(client) == ["sku-1", "sku-3", "sku-5"]


def test_unknown_keys_are_listed_and_the_others_deleted(
    settings: Settings, client: Lookalike, where: list[str]
) -> None:
    result = run(settings, "delete", "sku-1", "gone", "\udcff", "--yes", *where)
    assert (result.exit_code, result.stdout.strip()) == (1, "1 image deleted.")
    assert "2 keys are not in the catalogue: gone, \\udcff" in result.stderr
    assert "sku-1" not in keys_of(client)


@pytest.mark.parametrize(
    "words", [["gone"], ["--label", "unknown"], ["--label", "\udcff"], ["--filter", '{"a": 1}'], ["--text", "no"]]
)
def test_selection_without_images_deletes_nothing(
    settings: Settings, client: Lookalike, where: list[str], words: list[str]
) -> None:
    result = run(settings, "delete", *words, "--yes", *where)
    assert result.exit_code == 1
    assert "Nothing was deleted: no image matches." in output_of(result)
    assert keys_of(client) == KEYS


@pytest.mark.parametrize("filter_", ["price < 5", "[1]", '{"price": {"$less": 5}}', "[" * 5000])
def test_invalid_filter_deletes_nothing(settings: Settings, client: Lookalike, where: list[str], filter_: str) -> None:
    result = run(settings, "delete", "--filter", filter_, "--yes", *where)
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert "filter" in output_of(result)
    assert keys_of(client) == KEYS


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name what to delete"),
        (["sku-1", "--label", "boots"], "Give one of these kinds"),
        (["sku-1", "--table", "t.csv"], "Give one of these kinds"),
        (["--table", "gone.csv"], "gone.csv is not a table"),
        (["--table", "."], "is not a table"),
    ],
)
def test_unclear_selection_is_an_error_before_the_catalogue_is_opened(
    tmp_path: Path, words: list[str], sentence: str
) -> None:
    data = tmp_path / "data"
    result = CliRunner().invoke(commands, ["delete", *words], env={"LOOKALIKE_DATA_DIR": str(data)})
    assert (result.exit_code, type(result.exception)) == (1, SystemExit)
    assert sentence in output_of(result)
    assert not data.exists()


def test_unreachable_service_is_an_error(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.images.connection._ATTEMPTS", 1)
    result = run(settings, "delete", "sku-1", "--yes", "--url", f"http://127.0.0.1:{free_port()}")
    assert (result.exit_code, "does not respond" in output_of(result)) == (1, True)


def test_more_images_than_a_page_are_deleted(
    settings: Settings, client: Lookalike, where: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.images.local_catalogue._BATCH", 2)
    monkeypatch.setattr("app.cli.images.delete.STEP", 1)
    result = run(settings, "delete", "--filter", '{"price": {"$gte": 1}}', "--yes", *where)
    assert (result.exit_code, result.stdout.strip()) == (0, "5 images deleted.")
    assert keys_of(client) == ["sku-0"]
