"""Fixtures for browser tests: Playwright with the system's Chromium, and the running service's catalogue."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from typing import NoReturn

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.images import encoded, gradient
from tests.web.steps import shown_ids

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
TIMEOUT_MS = 20_000

AddPicture = Callable[..., str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    # Not session-scoped: an open Playwright runs an event loop, in which asyncio.run fails.
    executable = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if executable is None:
        missing_browser(f"no browser: none of {', '.join(CHROMIUM_NAMES)} is on the PATH")
    expect.set_options(timeout=TIMEOUT_MS)
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
        context.set_default_timeout(TIMEOUT_MS)
        yield context.new_page()


@pytest.fixture
def catalogue(server_url: str) -> Iterator[httpx2.Client]:
    """Client for the running service; images that a test adds are deleted afterwards."""
    with httpx2.Client(base_url=server_url, timeout=60) as client:
        last_id = newest_id(client)
        yield client
        for picture in client.get("/images", params={"cursor": str(last_id), "limit": 1000}).json()["items"]:
            client.delete(f"/images/{picture['id']}").raise_for_status()


@pytest.fixture
def add_picture(catalogue: httpx2.Client) -> AddPicture:
    """Add a picture with the given metadata and return its id."""

    def add(**metadata: object) -> str:
        response = catalogue.post(
            "/index",
            data={"metadata": json.dumps([metadata])},
            files={"images": encoded(gradient(120, 90), "PNG")},
        )
        return str(response.raise_for_status().json()["items"][0]["id"])

    return add


def newest_id(client: httpx2.Client) -> int:
    """Return the largest id; ids are ascending."""
    return max((item["id"] for item in client.get("/images", params={"limit": 1000}).json()["items"]), default=0)


@pytest.fixture
def own(add_picture: AddPicture) -> list[str]:
    """Add six pictures with the label "own"; return their ids."""
    return [add_picture(key=f"own-{number}", label="own", n=number, colour="red") for number in range(6)]


@pytest.fixture
def listed(page: Page, own: list[str]) -> Page:
    """Open the page with these pictures, in the order of their numbers."""
    page.goto("/?label=own&sort=n")
    expect(page.locator("#heading")).to_have_text("6 pictures match")
    assert shown_ids(page) == own
    return page
