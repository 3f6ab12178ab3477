"""`lookalike trash`, `update` and `export`, in this process and through a service."""

import csv
import json
from pathlib import Path

import pytest
from lookalike_client import Lookalike, NewImage

from app.ingest.sources.table_source import TableSource
from app.settings import Settings
from tests.cli.commands import KEYS, keys_of, run
from tests.cli.output import output_of
from tests.images import encoded, gradient

pytestmark = pytest.mark.usefixtures("fake_network")


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings that keep deleted images for a day."""
    return settings.model_copy(update={"trash_days": 1.0})


def test_deletion_is_listed_restored_and_purged(settings: Settings, client: Lookalike, where: list[str]) -> None:
    deleted = run(settings, "delete", "--label", "boots", "--yes", *where)
    assert (deleted.exit_code, keys_of(client)) == (0, ["sku-1", "sku-3", "sku-5"])
    deletion = client.trash_page().items[0].deletion_id
    assert f"`lookalike trash restore --deletion {deletion}` restores 3 images." in output_of(deleted)
    listed = run(settings, "trash", "list", *where)
    assert [line.split()[:4] for line in listed.stdout.splitlines()[1:]] == [
        [str(at + 1), f"sku-{at}", "boots", str(deletion)] for at in (0, 2, 4)
    ]
    assert run(settings, "trash", "restore", "3", *where).stdout.strip() == "1 image restored."
    assert keys_of(client) == ["sku-1", "sku-2", "sku-3", "sku-5"]
    assert run(settings, "trash", "restore", "--deletion", str(deletion), *where).stdout.strip() == "2 images restored."
    assert keys_of(client) == KEYS
    assert run(settings, "trash", "list", *where).stdout.strip() == "The trash is empty."
    run(settings, "delete", "sku-1", "--yes", *where)
    refused = run(settings, "trash", "empty", *where, answer="n\n")
    assert (refused.exit_code, len(client.trash_page().items)) == (1, 1)
    assert run(settings, "trash", "empty", "--yes", *where).stdout.strip() == "1 image deleted for good."
    gone = run(settings, "trash", "restore", "2", *where)
    assert (gone.exit_code, "2 is not in the trash" in output_of(gone)) == (1, True)


def test_used_key_is_told_and_skipped_on_request(settings: Settings, client: Lookalike, where: list[str]) -> None:
    run(settings, "delete", "sku-0", "sku-1", "--yes", *where)
    client.add([NewImage(encoded(gradient(50, 20), "PNG"), "sku-0")])
    deletion = str(client.trash_page().items[0].deletion_id)
    told = run(settings, "trash", "restore", "--deletion", deletion, *where)
    assert (told.exit_code, "The key is in use again: sku-0" in output_of(told)) == (1, True)
    restored = run(settings, "trash", "restore", "--deletion", deletion, "--skip-used-keys", *where)
    assert restored.stdout.strip() == "1 image restored. 1 image skipped, because their keys are in use."


@pytest.mark.parametrize("words", [(), ("1", "--deletion", "2")])
def test_unclear_restore_is_an_error(settings: Settings, words: tuple[str, ...]) -> None:
    result = run(settings, "trash", "restore", *words)
    assert (result.exit_code, "Name what to restore" in output_of(result)) == (1, True)


def test_update_sets_and_removes(settings: Settings, client: Lookalike, where: list[str]) -> None:
    words = ["--set-label", "shoes", "--set", "season=summer", "--set", "sizes=[41, 42.5]", "--remove", "price"]
    result = run(settings, "update", "--label", "boots", *words, "--yes", *where)
    assert (result.exit_code, result.stdout.strip()) == (0, "3 images changed, 0 unchanged.")
    (first, *_) = client.list()
    assert (first.label, first.metadata) == ("shoes", {"season": "summer", "sizes": [41, 42.5]})
    result = run(settings, "update", "sku-0", "sku-1", "--set-label", "shoes", "--yes", *where)
    assert result.stdout.strip() == "1 image changed, 1 unchanged."
    result = run(settings, "update", "sku-1", "no", "--remove-label", "--yes", *where)
    assert (result.exit_code, "not in the catalogue: no" in output_of(result)) == (1, True)
    assert [image.label for image in client.list()][:2] == ["shoes", None]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sku-0"], "Say what to change"),
        (["sku-0", "--set", "price"], "not a field and its value"),
        (["sku-0", "--set", "a=1", "--remove", "a"], "given twice"),
        (["sku-0", "--set-label", "x", "--remove-label"], "not both"),
        (["--filter", "{}", "--set-label", "x"], "selects every image"),
        (["--set-label", "x"], "Name what to update"),
    ],
)
def test_unclear_update_is_an_error(settings: Settings, words: list[str], sentence: str) -> None:
    result = run(settings, "update", *words, "--yes")
    assert (result.exit_code, sentence in output_of(result)) == (1, True), output_of(result)


def test_export_writes_a_table(settings: Settings, client: Lookalike, where: list[str], tmp_path: Path) -> None:
    table, lines = tmp_path / "out.csv", tmp_path / "out.jsonl"
    assert run(settings, "export", str(table), "--label", "hats", *where).exit_code == 0
    assert list(csv.reader(table.read_text("utf-8-sig").splitlines())) == [
        ["key", "label", "price"],
        *([f"sku-{at}", "hats", str(at)] for at in (1, 3, 5)),
    ]
    assert run(settings, "export", str(lines), "--filter", '{"price": {"$gte": 4}}', *where).exit_code == 0
    assert [json.loads(line)["key"] for line in lines.read_text().splitlines()] == ["sku-4", "sku-5"]
    assert list(TableSource(lines, 1000).keys()) == ["sku-4", "sku-5"]
    assert sorted(path.name for path in tmp_path.glob("*out*")) == ["out.csv", "out.jsonl"]


def test_export_that_fails_leaves_the_earlier_file(
    settings: Settings, client: Lookalike, where: list[str], tmp_path: Path
) -> None:
    table = tmp_path / "out.csv"
    table.write_text("earlier")
    client.update(1, metadata={"Key": 1})
    result = run(settings, "export", str(table), *where)
    assert (result.exit_code, "cannot have a metadata field named 'Key'" in output_of(result)) == (1, True)
    assert table.read_text() == "earlier"
    assert run(settings, "export", str(tmp_path / "out.xlsx"), *where).exit_code == 1
    missing = run(settings, "export", str(tmp_path / "none" / "out.csv"), *where)
    assert (missing.exit_code, "cannot be written: No such file" in output_of(missing)) == (1, True)
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.csv"]
