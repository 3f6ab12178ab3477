"""The page of an empty catalogue: how to add pictures, and the demo."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from app.api.middleware import auth
from app.demo.catalogue import IMAGES
from app.settings import Settings
from app.tasks import runner
from tests.api.server import serve
from tests.api.test_index import random_image
from tests.conftest import running_server
from tests.web.conftest import TIMEOUT_MS
from tests.web.steps import shown_ids

# Prints progress, then waits for its end.
WAITING = """
import json, sys, time
print(json.dumps({"step": "drawing", "processed": 3, "total": 10}), file=sys.stderr, flush=True)
time.sleep(600)
"""
# The task opens the network once more, and draws and encodes beside other tests.
LOADED_MS = 300_000


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        context.set_default_timeout(TIMEOUT_MS)
        yield context.new_page()


@pytest.fixture
def url(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty service whose tasks wait; it requires keys once there is one."""
    monkeypatch.setattr(auth, "CACHE_TTL_S", 0.0)
    monkeypatch.setattr(runner, "COMMAND", (sys.executable, "-c", WAITING))
    with serve(settings.model_copy(update={"auth": "auto"})) as server:
        yield server.url


def open_empty(page: Page, url: str) -> None:
    page.goto(url)
    expect(page.locator("#heading")).to_have_text("The catalogue is empty")


@pytest.mark.timeout(900)
def test_demo_is_loaded_with_a_click(page: Page, tmp_path: Path) -> None:
    with running_server(tmp_path / "data", LOOKALIKE_DEMO="off", LOOKALIKE_ADAPT="off") as (url, _):
        open_empty(page, url)
        page.get_by_role("button", name="Load the demo").click()
        expect(page.get_by_role("progressbar", name=re.compile("^Adding the demo: "))).to_be_visible()
        expect(page.locator("#note")).to_have_text(f"{IMAGES} pictures to search", timeout=LOADED_MS)
        assert len(shown_ids(page)) >= 10
        page.locator(".tile img").evaluate_all("(images) => Promise.all(images.map((image) => image.decode()))")
        (task,) = httpx2.get(f"{url}/tasks").json()["items"]
        assert (task["state"], task["message"]) == ("done", f"{IMAGES} images added")
        assert (task["processed"], task["total"]) == (IMAGES, IMAGES)


def test_pictures_are_added_with_a_button_or_a_command(page: Page, url: str) -> None:
    open_empty(page, url)
    expect(page.locator("pre")).to_contain_text(f"{url}/index")
    with page.expect_file_chooser() as chooser:
        page.locator(".empty").get_by_role("button", name="Add pictures").click()
    assert chooser.value.is_multiple()


def test_progress_is_shown_again_after_a_reload_and_can_be_cancelled(page: Page, url: str) -> None:
    open_empty(page, url)
    page.get_by_role("button", name="Load the demo").click()
    bar = page.get_by_role("progressbar", name="Adding the demo: drawing")
    expect(bar).to_have_js_property("value", 3)
    page.reload()
    expect(bar).to_have_js_property("value", 3)
    expect(page.get_by_role("button", name="Load the demo")).to_be_disabled()
    page.goto(f"{url}/operations")
    expect(page.locator("#health").get_by_role("progressbar", name="Adding the demo: drawing")).to_be_visible()
    open_empty(page, url)
    page.get_by_role("button", name="Cancel").click()
    expect(bar).to_be_hidden()
    expect(page.get_by_role("button", name="Load the demo")).to_be_enabled()
    assert httpx2.get(f"{url}/tasks").json()["items"][0]["state"] == "cancelled"


def test_refusal_is_shown(page: Page, url: str) -> None:
    open_empty(page, url)
    httpx2.post(f"{url}/index", files={"images": ("one.png", random_image(1))}).raise_for_status()
    page.get_by_role("button", name="Load the demo").click()
    expect(page.locator(".empty").get_by_role("alert")).to_contain_text("The catalogue or its trash has images")
    expect(page.get_by_role("button", name="Load the demo")).to_be_enabled()


def test_demo_is_offered_to_administrators_only(page: Page, url: str) -> None:
    def new_key(name: str, scopes: list[str], admin: str = "") -> str:
        headers = {"Authorization": f"Bearer {admin}"} if admin else {}
        answer = httpx2.post(f"{url}/keys", json={"name": name, "scopes": scopes}, headers=headers)
        return str(answer.raise_for_status().json()["key"])

    writer = new_key("shop", ["search", "write"], admin=new_key("operator", ["admin"]))
    page.goto(url)
    page.get_by_role("textbox", name="API key").fill(writer)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("The catalogue is empty")
    expect(page.locator(".empty").get_by_role("button", name="Add pictures")).to_be_visible()
    expect(page.get_by_role("button", name="Load the demo")).to_be_hidden()
