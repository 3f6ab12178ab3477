"""Request ids, request log lines, and responses to unexpected exceptions."""

import json
import logging
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.middleware.request_id import HEADER
from app.catalogue.queries import ImageSummary
from app.main import create_app
from app.model_switch.active import ActiveSearcher
from app.observability.log_format import JsonFormatter
from app.search.examples import Example
from app.search.pipeline import SearchResult
from app.search.types import SearchOptions
from app.settings import Settings
from tests.api.test_index import INVALID_IMAGE, random_image
from tests.conftest import open_with_fake


class Lines(logging.Handler):
    """Logging handler that collects records as JSON."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.found: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(json.loads(self.format(record)))


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    log, handler = logging.getLogger("app"), Lines()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    yield handler.found
    log.setLevel(level)
    log.removeHandler(handler)


def test_valid_request_id_is_kept(client: TestClient) -> None:
    answer = client.get("/images", headers={HEADER: "shop-17/4f3c"})
    assert answer.headers[HEADER] == "shop-17/4f3c"


@pytest.mark.parametrize("given", ["", " ", "two words", "a" * 129, "line\x01end", '"quoted"', "-dash", "päth"])
def test_invalid_request_id_is_replaced(client: TestClient, given: str) -> None:
    answer = client.get("/images", headers=[(HEADER.encode(), given.encode())])
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers[HEADER])


def test_every_response_has_a_unique_request_id(client: TestClient) -> None:
    paths = ("/", "/healthz", "/readyz", "/images/1", "/nowhere", "/web/none", "/metrics")
    ids = [client.get(path).headers[HEADER] for path in paths]
    ids += [
        client.post("/search", files={"image": INVALID_IMAGE}).headers[HEADER],
        client.put("/images").headers[HEADER],
    ]
    assert len(set(ids)) == len(ids)


def test_rejected_request_has_a_request_id(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"max_request_bytes": 10, "auth": "auto"}), open_with_fake)
    with TestClient(app, base_url="http://shop.example") as client:
        refused = client.get("/images")
        assert (refused.status_code, len(refused.headers[HEADER])) == (403, 32)


def test_request_log_line_has_method_path_status_and_duration(client: TestClient, lines: list[dict[str, Any]]) -> None:
    client.post("/search?k=3", files={"image": random_image(1)}, headers={HEADER: "abc"})
    (line,) = [line for line in lines if line["logger"] == "app.api.middleware.request_log"]
    assert line["request_id"] == "abc"
    assert (line["method"], line["path"], line["query"], line["route"]) == ("POST", "/search", "k=3", "/search")
    assert (line["status"], line["level"], line["client"]) == (200, "info", "testclient")
    assert 0 < line["duration_ms"] < 60_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"])


def test_log_lines_of_search_threads_have_the_request_id(
    client: TestClient, lines: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = ActiveSearcher.by_examples

    def telling(
        searches: ActiveSearcher, examples: Sequence[Example], options: SearchOptions
    ) -> SearchResult[ImageSummary]:
        logging.getLogger("app.search").warning("at work")
        return found(searches, examples, options)

    monkeypatch.setattr(ActiveSearcher, "by_examples", telling)
    client.post("/search", files={"image": random_image(1)}, headers={HEADER: "abc"})
    (line,) = [line for line in lines if line["message"] == "at work"]
    assert line["request_id"] == "abc"


def test_successful_health_checks_are_not_logged(client: TestClient, lines: list[dict[str, Any]]) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.get(path).status_code == 200
    assert lines == []


def test_control_characters_of_a_url_are_escaped_in_the_log(client: TestClient, lines: list[dict[str, Any]]) -> None:
    client.get("/images/1%0Afaked?x=%0A%1b[31m")
    (line,) = lines
    assert line["path"] == "/images/1%0Afaked"
    assert "\n" not in line["message"]
    assert "\x1b" not in line["message"]


def test_unexpected_exception_returns_a_problem_with_its_request_id_and_logs_the_traceback(
    settings: Settings, lines: list[dict[str, Any]]
) -> None:
    app = create_app(settings, open_with_fake)

    @app.get("/broken")
    def broken() -> None:
        raise ZeroDivisionError("of all things")

    with TestClient(app) as client:
        answer = client.get("/broken", headers={HEADER: "abc"})
        assert client.get("/healthz").status_code == 200
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.headers[HEADER], answer.headers["x-content-type-options"]) == ("abc", "nosniff")
    assert "of all things" not in answer.text
    (line,) = [line for line in lines if "exception" in line]
    assert "ZeroDivisionError: of all things" in line["exception"]
    assert (line["request_id"], line["level"]) == ("abc", "error")
