"""`lookalike search`: through a running service, and in this process; as a table and as JSON."""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lookalike_client import Lookalike, NewImage
from typer.testing import CliRunner, Result

from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key
from app.cli.images.search import Hit, _show
from app.cli.main import app as commands
from app.common.running_services import announced
from app.common.scopes import Scope
from app.model_switch.active import ActiveSearcher
from app.search.examples import Example
from app.search.types import SearchOptions
from app.settings import Settings
from tests.api.server import serve
from tests.cli.output import output_of
from tests.conftest import free_port, open_with_fake
from tests.images import encoded, gradient

DATA = encoded(gradient(40, 30), "PNG")


def fill(url: str, key: str | None = None) -> None:
    with Lookalike(url, key) as client:
        client.add([NewImage(DATA, "boot", "boots", {"price": 89.5, "colour": "dark red", "tags": ["new"]})])
        client.add([NewImage(encoded(gradient(90, 20), "PNG"), "hat", metadata={"price": 7})])


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "photo.png").write_bytes(DATA)
    return tmp_path / "photo.png"


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Settings with which a command opens the catalogue itself, which it does with the fake network."""
    calls: list[Settings] = []

    def open_service(settings: Settings) -> Any:
        calls.append(settings)
        return open_with_fake(settings)

    monkeypatch.setattr("app.bootstrap.open_service", open_service)
    # A busy machine may be slow.
    monkeypatch.setattr("app.cli.images.connection._HEALTH_TIMEOUT_S", 60)
    return calls


@contextmanager
def running(settings: Settings) -> Iterator[str]:
    """Run a service that announces itself, as `lookalike serve` does."""
    with serve(settings) as server, announced(settings.data_dir, server.url, settings.database_url):
        yield server.url


def run(settings: Settings, *words: str, **variables: str) -> Result:
    environment = {
        "LOOKALIKE_DATA_DIR": str(settings.data_dir),
        "LOOKALIKE_DATABASE_URL": str(settings.database_url),
        "LOOKALIKE_URL": None,
        "LOOKALIKE_API_KEY": None,
        "COLUMNS": "200",
    }
    return CliRunner().invoke(commands, ["search", *words], env={**environment, **variables})


def rows(result: Result) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.stdout.splitlines() if "│" in line]


def header(result: Result) -> list[str]:
    (line,) = [line for line in result.stdout.splitlines() if "┃" in line]
    return [cell.strip() for cell in line.split("┃")[1:-1]]


def test_running_service_answers_without_opening_the_catalogue(
    settings: Settings, image: Path, opened: list[Settings]
) -> None:
    with running(settings) as url:
        fill(url)
        result = run(settings, str(image), "-k", "1", "--fields", "price, colour", "--fields", "id,tags")
    assert result.exit_code == 0, result.output
    assert header(result) == ["distance", "key", "label", "price", "colour", "id", "tags"]
    assert rows(result) == [["0.0000", "boot", "boots", "89.5", "dark red", "1", '["new"]']]
    assert opened == []


def test_service_and_catalogue_give_the_same_results(settings: Settings, image: Path, opened: list[Settings]) -> None:
    words = (str(image), "--json")
    with running(settings) as url:
        fill(url)
        over_http = run(settings, *words)
        assert opened == []
    in_process = run(settings, *words)
    assert len(opened) == 1
    assert (over_http.exit_code, in_process.exit_code) == (0, 0)
    assert json.loads(over_http.stdout) == json.loads(in_process.stdout)
    first = json.loads(over_http.stdout)["results"][0]
    assert first == {
        "id": 1,
        "key": "boot",
        "label": "boots",
        "similarity": None,
        "similarity_band": None,
        "distance": 0.0,
        "hamming": 0,
        "metadata": {"price": 89.5, "colour": "dark red", "tags": ["new"]},
    }


def test_symmetric_search_orders_by_hamming_distance(
    settings: Settings, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    by_examples = ActiveSearcher.by_examples

    def recorded(searcher: ActiveSearcher, examples: Sequence[Example], options: SearchOptions) -> Any:
        asked.append(options.asymmetric)
        return by_examples(searcher, examples, options)

    monkeypatch.setattr(ActiveSearcher, "by_examples", recorded)
    with running(settings) as url:
        for words in ((), ("--symmetric",), ("--symmetric", "--url", url)):
            assert run(settings, str(image), *words).exit_code == 0
    for words in ((), ("--symmetric",)):
        assert run(settings, str(image), *words).exit_code == 0
    assert asked == [True, False, False, True, False]


def test_words_and_order_are_those_of_the_service_and_of_the_catalogue(settings: Settings, image: Path) -> None:
    for words in (("--text", "red boot", "--json"), ("--sort=-price", "--json"), ("--text=nothing", "--json")):
        with running(settings) as url:
            fill(url)
            over_http = run(settings, str(image), *words)
        in_process = run(settings, str(image), *words)
        assert (over_http.exit_code, in_process.exit_code) == (0, 0), over_http.output
        found = json.loads(over_http.stdout)["results"]
        assert found == json.loads(in_process.stdout)["results"]
        prices = [hit["metadata"].get("price") for hit in found]
        expected = {
            "--text": [89.5],
            "--sort=-price": sorted(prices, key=lambda price: -(price or 0)),
            "--text=nothing": [],
        }
        assert prices == expected[words[0]]


@pytest.mark.parametrize("option", ["--text=…", "--sort=-", f"--text={'x' * 600}"])
def test_unusable_words_or_order_end_with_a_sentence(settings: Settings, image: Path, option: str) -> None:
    result = run(settings, str(image), option)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert option[2:6] in result.output


def test_field_of_no_result_is_reported(settings: Settings, image: Path) -> None:
    with running(settings) as url:
        fill(url)
        result = run(settings, str(image), "--fields", "prise,price")
    assert result.exit_code == 0
    assert "No result has the field prise." in result.stderr
    assert rows(result)[0][3:] == ["", "89.5"]


def test_service_that_requires_a_key_gets_it_from_the_environment(
    settings: Settings, database: Database, image: Path, opened: list[Settings]
) -> None:
    with database.transaction() as session:
        key = create_key(session, "one", [Scope.SEARCH, Scope.WRITE])
    with running(settings.model_copy(update={"auth": "auto"})) as url:
        fill(url, key)
        result = run(settings, str(image), LOOKALIKE_API_KEY=key)
        assert (result.exit_code, result.stderr, opened) == (0, "", [])
        for variables in ({}, {"LOOKALIKE_API_KEY": "lk_9_wrong"}):
            result = run(settings, str(image), **variables)
            assert result.exit_code == 0, result.output
            assert rows(result)[0][1] == "boot"
            assert f"The service at {url} is not used: " in result.stderr
            assert "Set LOOKALIKE_API_KEY" in result.stderr
    assert len(opened) == 2


def test_service_that_does_not_answer_is_reported_and_not_used(
    settings: Settings, image: Path, opened: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(settings) as server:
        fill(server.url)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr("app.cli.images.connection._HEALTH_TIMEOUT_S", 0.2)
        hanging = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for url in (hanging, f"http://127.0.0.1:{free_port()}"):
            with announced(settings.data_dir, url, settings.database_url):
                result = run(settings, str(image))
            assert result.exit_code == 0, result.output
            assert rows(result)[0][1] == "boot"
            assert f"The service at {url} does not answer." in result.stderr
    assert len(opened) == 2


def test_similarity_is_shown_if_the_model_is_calibrated(capsys: pytest.CaptureFixture[str]) -> None:
    hits = [Hit(1, "a", None, 0.91234, 0.5, 3, {"id": "own"}, "very similar"), Hit(2, "b", "hats", 0.5, 0.7, 9, {})]
    _show(hits, ["id", "hamming"], as_json=False)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][1::2] == ["similarity", "key", "label", "id", "hamming"]
    assert ["│", "0.912", "very", "similar", "│", "a", "│", "│", "own", "│", "3", "│"] in lines
    assert ["│", "0.500", "│", "b", "│", "hats", "│", "2", "│", "9", "│"] in lines


def test_named_service_is_searched(settings: Settings, image: Path, tmp_path: Path) -> None:
    elsewhere = settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    with serve(settings) as server:
        fill(server.url)
        for words, variables in ((["--url", server.url], {}), ([], {"LOOKALIKE_URL": server.url})):
            result = run(elsewhere, str(image), "-k", "1", *words, **variables)
            assert result.exit_code == 0, result.output
            assert rows(result) == [["0.0000", "boot", "boots"]]
    assert not elsewhere.data_dir.exists()


def test_unusable_image_is_the_same_error_with_and_without_a_service(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "words.png").write_text("no picture")
    with running(settings):
        over_http = run(settings, str(tmp_path / "words.png"))
    in_process = run(settings, str(tmp_path / "words.png"))
    assert (over_http.exit_code, in_process.exit_code) == (1, 1)
    assert "not in a supported image format" in output_of(over_http)
    assert "not in a supported image format" in output_of(in_process)


def test_missing_image_is_an_error(settings: Settings, tmp_path: Path) -> None:
    result = run(settings, str(tmp_path / "gone.png"))
    assert (result.exit_code, "is not a file" in output_of(result)) == (1, True)
