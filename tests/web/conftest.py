"""A real browser for the page: Playwright drives the Chromium that the system has."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import NoReturn

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.pictures import encoded, gradient

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PATIENCE_MS = 20_000

AddPicture = Callable[..., str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not for the whole session: while Playwright is open its event loop runs, and asyncio.run would fail.
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if executable is None:
        missing_browser(f"no browser: none of {', '.join(CHROMIUM_NAMES)} is on the PATH")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


def missing_browser(reason: str) -> NoReturn:
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def page(browser: Browser, server_url: str) -> Iterator[Page]:
    with browser.new_context(base_url=server_url) as context:
        context.set_default_timeout(PATIENCE_MS)
        yield context.new_page()


@pytest.fixture
def catalogue(server_url: str) -> Iterator[httpx2.Client]:
    """The running service's catalogue; whatever a test adds to it is deleted afterwards."""
    with httpx2.Client(base_url=server_url, timeout=60) as client:
        seen = newest(client)
        yield client
        for picture in client.get("/images", params={"cursor": str(seen), "limit": 1000}).json()["items"]:
            client.delete(f"/images/{picture['id']}").raise_for_status()


@pytest.fixture
def add_picture(catalogue: httpx2.Client) -> AddPicture:
    """Puts a picture of the test's own into the catalogue and gives its id."""

    def add(**about: object) -> str:
        answer = catalogue.post(
            "/index",
            data={"metadata": json.dumps([about])},
            files={"images": encoded(gradient(120, 90), "PNG")},
        )
        return str(answer.raise_for_status().json()["items"][0]["id"])

    return add


def newest(client: httpx2.Client) -> int:
    """The largest id; ids only grow."""
    return max((item["id"] for item in client.get("/images", params={"limit": 1000}).json()["items"]), default=0)
