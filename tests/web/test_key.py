"""The page of a service that asks for keys, in a real browser."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, FilePayload, Page, Route, expect

from tests.conftest import copy_data, running_server
from tests.pictures import corners, encoded

LOOKALIKE = (sys.executable, "-m", "app.cli.main")
HOSTILE = '<img src=x onerror="document.title=1">'


def run(data_dir: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LOOKALIKE_DATA_DIR": str(data_dir)} | variables
    return subprocess.run(
        [*LOOKALIKE, *words], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory, demo_data: Path) -> Path:
    return copy_data(demo_data, tmp_path_factory.mktemp("locked") / "data")


@pytest.fixture(scope="module")
def url(data_dir: Path) -> Iterator[str]:
    """A server with a key."""
    with running_server(data_dir) as (url, _):
        assert run(data_dir, "keys", "create", "first").returncode == 0
        yield url


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    with browser.new_context(base_url=url) as context:
        yield context.new_page()


def make_key(data_dir: Path, name: str, *scopes: str) -> str:
    options = [word for scope in scopes for word in ("--scope", scope)]
    return run(data_dir, "keys", "create", name, *options).stdout.strip()


def type_key(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")


def test_the_page_asks_for_a_key_once_and_shows_pictures_with_it(page: Page, data_dir: Path) -> None:
    key = make_key(data_dir, "page", "search")
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This catalogue asks for a key")
    expect(dialog).to_be_visible()
    type_key(page, "lk_1_wrong")
    expect(page.locator("#key-message")).to_contain_text("is not valid")
    type_key(page, key)
    expect(dialog).to_be_hidden()
    expect(page.locator(".tile")).to_have_count(24)
    shown = page.locator(".tile img").first
    assert shown.evaluate("(img) => img.decode().then(() => img.naturalWidth)") > 100
    page.reload()
    expect(page.locator(".tile")).to_have_count(24)
    expect(dialog).to_be_hidden()
    assert key not in page.evaluate("document.cookie")


def test_who_has_no_key_reads_why_nothing_is_shown(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#message")).to_contain_text("Without a key")


def test_a_key_that_is_for_something_else_is_asked_for_again_with_the_reason(page: Page, data_dir: Path) -> None:
    writer, reader = make_key(data_dir, "only-write", "write"), make_key(data_dir, "reads", "search")
    address = "/?id=1&label=boot"
    page.goto(address)
    type_key(page, writer)
    expect(page.locator("#key-message")).to_contain_text('The key "only-write" lacks the scope "search".')
    type_key(page, reader)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#query img")).to_be_visible()
    assert page.url.endswith(address)


def test_who_has_no_other_key_reads_why_and_is_asked_once(page: Page, data_dir: Path) -> None:
    dialog = page.get_by_role("dialog")
    page.goto("/?id=1&label=boot")
    type_key(page, make_key(data_dir, "write-alone", "write"))
    expect(page.locator("#key-message")).to_contain_text('scope "search"')
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.locator("#message")).to_contain_text('The key "write-alone" lacks the scope "search".')
    expect(page.locator("body")).not_to_have_class("busy")
    expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Use another key").click()
    type_key(page, make_key(data_dir, "found-later", "search"))
    expect(page.locator("#query img")).to_be_visible()
    assert page.url.endswith("/?id=1&label=boot")


def test_pictures_are_added_with_another_key(page: Page, data_dir: Path) -> None:
    page.goto("/")
    type_key(page, make_key(data_dir, "looks", "search"))
    expect(page.locator(".tile").first).to_be_visible()
    own: FilePayload = {"name": "own.png", "mimeType": "image/png", "buffer": encoded(corners(91, 61), "PNG")}
    page.set_input_files("#several", [own] * 2)
    add, trouble = page.get_by_role("button", name="Add 2 pictures"), page.locator("#adding").get_by_role("alert")
    add.click()
    expect(page.locator("#key-message")).to_contain_text('The key "looks" lacks the scope "write".')
    page.keyboard.press("Escape")
    expect(trouble).to_contain_text('lacks the scope "write"')
    page.get_by_role("button", name=re.compile("^Add (2|the other 2)")).click()
    type_key(page, make_key(data_dir, "adds", "search", "write"))
    expect(page.locator(".queue .fate")).to_have_text(["added", "there already"])
    expect(trouble).to_be_hidden()


def test_another_key_can_be_used(page: Page, data_dir: Path) -> None:
    first, second = make_key(data_dir, "one", "search"), make_key(data_dir, "another", "search")
    control = page.get_by_role("button", name="Use another key")
    page.goto("/?label=boot")
    expect(page.get_by_role("dialog")).to_be_visible()
    expect(control).to_be_hidden()
    type_key(page, first)
    expect(control).to_be_visible()
    page.reload()
    control.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.context.cookies() == []
    type_key(page, second)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(control).to_be_visible()
    assert page.url.endswith("/?label=boot")
    assert second in [cookie["value"] for cookie in page.context.cookies()]


def test_where_no_key_is_asked_for_none_is_offered(browser: Browser, server_url: str) -> None:
    with browser.new_context(base_url=server_url) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.locator(".tile").first).to_be_visible()
        expect(page.get_by_role("button", name="Use another key")).to_be_hidden()


def test_a_browser_that_keeps_no_cookies_is_told_so(page: Page, data_dir: Path) -> None:
    page.route("**/session", lambda route: route.fulfill(status=204))
    page.goto("/?id=1&label=boot")
    type_key(page, make_key(data_dir, "forgotten", "search"))
    expect(page.locator("#message")).to_contain_text("Does this browser keep the cookies of this page?")
    expect(page.locator("body")).not_to_have_class("busy")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_no_key_is_asked_for_where_none_would_help(
    page: Page, browser: Browser, server_url: str, data_dir: Path
) -> None:
    page.goto("/")
    type_key(page, make_key(data_dir, "elsewhere", "search", "write"))
    expect(page.locator(".tile").first).to_be_visible()
    page.route("**/search*", refuse_its_name)
    page.set_input_files("#file", {"name": "own", "mimeType": "image/png", "buffer": encoded(corners(90, 60), "PNG")})
    expect(page.locator("#message")).to_have_text("This service is not called so.")
    expect(page.get_by_role("dialog")).to_be_hidden()
    other_name = server_url.replace("127.0.0.1", "other.localhost")
    with browser.new_context(base_url=other_name) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.locator("#message")).to_contain_text("without keys only local requests are allowed")
        expect(page.get_by_role("dialog")).to_be_hidden()


def refuse_its_name(route: Route) -> None:
    """Answers as a service does, with or without a key, that something in front calls by a wrong name."""
    route.fulfill(status=403, json={"code": "host_not_allowed", "detail": "This service is not called so."})


def test_what_owners_write_is_shown_as_text(page: Page, url: str, data_dir: Path) -> None:
    key = make_key(data_dir, "writer", "write", "search")
    about = json.dumps([{"key": f"key {HOSTILE}", "label": f"label {HOSTILE}", "note": f"note {HOSTILE}"}])
    picture = encoded(corners(90, 60), "PNG")
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        client.post("/index", data={"metadata": about}, files={"images": picture}).raise_for_status()
    page.goto("/")
    type_key(page, key)
    expect(page.locator(".tile")).to_have_count(24)
    page.set_input_files("#file", {"name": HOSTILE, "mimeType": "image/png", "buffer": picture})
    expect(page.locator(".tile").first).to_contain_text(f"label {HOSTILE}")
    assert page.locator("img[src='x']").count() == 0
    assert page.title() != "1"


def test_keys_are_listed_and_revoked_by_name(data_dir: Path, url: str) -> None:
    key = make_key(data_dir, "short-lived", "search")
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx2.get(f"{url}/stats", headers=headers).status_code == 200
    listed = run(data_dir, "keys", "list").stdout
    assert "short-lived" in listed
    assert key.rsplit("_", 1)[1] not in listed
    assert run(data_dir, "keys", "revoke", "short-lived").returncode == 0
    again = run(data_dir, "keys", "revoke", "short-lived")
    assert (again.returncode, again.stderr.strip()) == (1, "There is no key short-lived in the catalogue.")


def test_another_address_wants_a_key_first(tmp_path: Path) -> None:
    ended = run(tmp_path / "data", "serve", LOOKALIKE_HOST="0.0.0.0")  # noqa: S104 - the service must refuse it; nothing is bound
    assert ended.returncode == 1
    assert "lookalike keys create" in ended.stderr
