"""The page below a path of a reverse proxy, in a real browser."""

import re
from collections.abc import Iterator

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key
from app.common.scopes import Scope
from app.settings import Settings
from tests.api.prefix_proxy import prefix_proxy
from tests.api.server import serve
from tests.api.test_index import random_image
from tests.web.conftest import TIMEOUT_MS
from tests.web.steps import search_with_tile

PREFIX = "/tools/lookalike"


@pytest.fixture(params=[True, False], ids=["stripped", "not stripped"])
def below(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """The address of a service with three images, below a path."""
    with (
        serve(settings.model_copy(update={"root_path": PREFIX, "auth": "auto"})) as server,
        prefix_proxy(server.url, PREFIX, strips=request.param, headers=False) as address,
    ):
        files = [("images", (f"{number}.png", random_image(number))) for number in range(3)]
        httpx2.post(f"{server.url}/index", files=files).raise_for_status()
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        context.set_default_timeout(TIMEOUT_MS)
        yield context.new_page()


def test_page_works_below_a_path(page: Page, below: str) -> None:
    failed: list[str] = []
    page.on("response", lambda answer: failed.append(answer.url) if answer.status >= 400 else None)
    page.goto(below)
    expect(page.locator(".tile")).to_have_count(3)
    page.locator(".tile img").evaluate_all("(images) => Promise.all(images.map((image) => image.decode()))")
    expect(page.locator(".tile img.missing")).to_have_count(0)

    search_with_tile(page, 0)
    expect(page).to_have_url(re.compile(rf"{PREFIX}/\?id=\d$"))
    page.reload()
    expect(page.locator("#query .crop-button")).to_be_visible()

    page.set_input_files("#file", {"name": "given.png", "mimeType": "image/png", "buffer": random_image(1)})
    expect(page).to_have_url(re.compile(rf"{PREFIX}/\?upload="))
    expect(page.locator(".tile")).to_have_count(3)

    page.locator("a.brand").click()
    expect(page).to_have_url(re.compile(rf"{PREFIX}/$"))
    expect(page.locator(".tile")).to_have_count(3)
    page.go_back()
    expect(page).to_have_url(re.compile(rf"{PREFIX}/\?upload="))
    assert failed == []


def test_swagger_ui_sends_requests_below_the_path(page: Page, below: str) -> None:
    page.goto(below)
    page.get_by_role("link", name="API docs").click()
    expect(page).to_have_url(re.compile(rf"{PREFIX}/docs$"))
    call = page.locator("#operations-system-get_stats")
    call.get_by_role("button").first.click()
    call.get_by_role("button", name="Try it out").click()
    with page.expect_response(re.compile("/stats$")) as answered:
        call.get_by_role("button", name="Execute").click()
    assert answered.value.url == f"{below}/stats"
    assert answered.value.json()["images"] == 3


def test_key_cookie_is_limited_to_the_path(page: Page, below: str, database: Database) -> None:
    with database.transaction() as session:
        key = create_key(session, "page", [Scope.SEARCH])
    page.wait_for_timeout(1100)  # the service caches for a second that there are no keys
    page.goto(f"{below}/")
    page.get_by_label("API key", exact=True).fill(key)
    page.keyboard.press("Enter")
    expect(page.locator(".tile")).to_have_count(3)
    page.locator(".tile img").evaluate_all("(images) => Promise.all(images.map((image) => image.decode()))")
    assert {cookie["path"] for cookie in page.context.cookies()} == {PREFIX}
    page.get_by_role("button", name="Use another key").click()
    expect(page.get_by_label("API key", exact=True)).to_be_visible()
    assert page.context.cookies() == []
