"""Swagger UI sends what `POST /search` takes: a form with repeated fields, and JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page

from app.settings import Settings
from tests.api.server import serve
from tests.images import encoded, gradient
from tests.web.conftest import TIMEOUT_MS


@pytest.fixture
def docs(browser: Browser, settings: Settings) -> Iterator[Page]:
    """Swagger UI of a service with three images, open at the search."""
    with serve(settings) as server, browser.new_context(base_url=server.url) as context:
        files = [("images", encoded(gradient(40 + at, 30), "PNG")) for at in range(3)]
        httpx2.post(f"{server.url}/index", files=files).raise_for_status()
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.goto("/docs")
        call = page.locator("#operations-search-search")
        call.get_by_role("button").first.click()
        call.get_by_role("button", name="Try it out").click()
        yield page


@pytest.fixture
def call(docs: Page) -> Locator:
    return docs.locator("#operations-search-search")


def execute(call: Locator) -> dict[str, Any]:
    """Execute the call, and return the response."""
    with call.page.expect_response(lambda answer: "/search" in answer.url) as answered:
        call.get_by_role("button", name="Execute").click()
    assert answered.value.status == 200, answered.value.text()
    found: dict[str, Any] = answered.value.json()
    return found


def test_form_is_sent_with_repeated_fields(call: Locator, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(gradient(40, 30), "PNG"))
    call.locator("tr[data-property-name=image] input[type=file]").set_input_files(tmp_path / "photo.png")
    assert execute(call)["results"][0]["distance"] == 0, "without further input"
    like = call.locator("tr[data-property-name=like]")
    for value in ("2", "3"):
        like.get_by_role("button", name="Add string item").click()
        like.locator("input[type=text]").last.fill(value)
    url = call.page.url.partition("/docs")[0]
    files: list[tuple[str, Any]] = [
        ("image", (tmp_path / "photo.png").read_bytes()),
        ("like", (None, "2")),
        ("like", (None, "3")),
    ]
    assert execute(call)["results"] == httpx2.post(f"{url}/search", files=files).json()["results"]


def test_json_is_sent_as_in_the_example(call: Locator) -> None:
    call.get_by_label("Request content type").select_option("application/json")
    text = call.locator("textarea.body-param__text").input_value()
    url = call.page.url.partition("/docs")[0]
    assert execute(call)["results"] == httpx2.post(f"{url}/search", json=json.loads(text)).json()["results"]
    assert json.loads(text)["unlike"]
