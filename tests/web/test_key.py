"""The page with API keys: the key dialog, missing scopes, changing the key."""

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
from tests.images import corners, encoded
from tests.web.test_accessibility import group_of_two

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
    """URL of a server that requires a key."""
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
    page.get_by_role("textbox", name="API key").fill(key)
    page.keyboard.press("Enter")


def test_the_key_is_entered_once_and_stored_in_a_cookie(page: Page, data_dir: Path) -> None:
    key = make_key(data_dir, "page", "search")
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This catalogue needs an API key")
    expect(dialog).to_be_visible()
    type_key(page, "lk_1_wrong")
    expect(page.locator("#key-message")).to_contain_text("The API key is not valid")
    type_key(page, key)
    expect(dialog).to_be_hidden()
    expect(page.locator(".tile").first).to_be_visible()
    shown = page.locator(".tile img").first
    assert shown.evaluate("(img) => img.decode().then(() => img.naturalWidth)") > 100
    page.reload()
    expect(page.locator(".tile").first).to_be_visible()
    expect(dialog).to_be_hidden()
    assert key not in page.evaluate("document.cookie")


def test_cancelling_the_key_dialog_shows_an_error(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#message")).to_contain_text("needs an API key")


def test_a_key_without_the_scope_reopens_the_dialog_with_the_reason(page: Page, data_dir: Path) -> None:
    writer, reader = make_key(data_dir, "only-write", "write"), make_key(data_dir, "reads", "search")
    address = "/?id=1&label=boot"
    page.goto(address)
    type_key(page, writer)
    expect(page.locator("#key-message")).to_contain_text('The key "only-write" lacks the scope "search".')
    type_key(page, reader)
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("#query .crop-button")).to_be_visible()
    assert page.url.endswith(address)


def test_cancelling_after_a_missing_scope_shows_the_error_and_allows_another_key(page: Page, data_dir: Path) -> None:
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
    expect(page.locator("#query .crop-button")).to_be_visible()
    assert page.url.endswith("/?id=1&label=boot")


def test_adding_with_a_read_only_key_prompts_for_another(page: Page, data_dir: Path) -> None:
    page.goto("/")
    type_key(page, make_key(data_dir, "looks", "search"))
    expect(page.locator(".tile").first).to_be_visible()
    own: FilePayload = {"name": "own.png", "mimeType": "image/png", "buffer": encoded(corners(91, 61), "PNG")}
    page.set_input_files("#several", [own] * 2)
    add, error = page.get_by_role("button", name="Add 2 pictures"), page.locator("#add-panel").get_by_role("alert")
    add.click()
    expect(page.locator("#key-message")).to_contain_text('The key "looks" lacks the scope "write".')
    page.keyboard.press("Escape")
    expect(error).to_contain_text('lacks the scope "write"')
    page.get_by_role("button", name=re.compile("^Add (2|the remaining 2)")).click()
    type_key(page, make_key(data_dir, "adds", "search", "write"))
    statuses = page.locator(".queue li")
    expect(statuses.nth(0)).to_have_attribute("data-status", "created")
    expect(statuses.nth(1)).to_have_attribute("data-status", "unchanged")
    expect(error).to_be_hidden()


def test_what_a_key_may_not_do_is_not_offered(page: Page, data_dir: Path) -> None:
    page.goto("/?open=1")
    type_key(page, make_key(data_dir, "browses", "search"))
    expect(page.get_by_role("link", name="Find similar")).to_be_visible()
    for name in ("Edit", "Delete", "Add pictures", "Add a folder"):
        expect(page.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="Trash")).to_have_count(0)


def test_a_key_that_may_only_search_hides_changes_of_a_selection(page: Page, data_dir: Path) -> None:
    page.goto("/")
    type_key(page, make_key(data_dir, "selector", "search"))
    page.locator("[aria-posinset='1'] .select-box").click()
    bar = page.get_by_role("region", name="Selected pictures")
    expect(bar.get_by_role("button", name="Export…")).to_be_visible()
    for name in ("Label…", "Field…", "Delete…"):
        expect(bar.get_by_role("button", name=name)).to_have_count(0)


def test_a_key_that_may_only_search_reviews_nothing_and_is_told_what_the_trash_needs(
    page: Page, data_dir: Path
) -> None:
    page.goto("/")
    type_key(page, make_key(data_dir, "reader", "search"))
    expect(page.locator(".tile").first).to_be_visible()
    page.route("**/duplicates?*", lambda route: route.fulfill(json=group_of_two(page)))
    page.goto("/?duplicates=exact")
    expect(page.locator(".group-card")).to_contain_text("2 pictures")
    expect(page.locator(".group-card").get_by_role("button")).to_have_count(0)
    expect(page.locator(".group-card").get_by_role("radio")).to_have_count(0)
    own: FilePayload = {"name": "own.png", "mimeType": "image/png", "buffer": encoded(corners(91, 61), "PNG")}
    page.set_input_files("#file", own)
    expect(page.locator("#query")).to_contain_text("the link cannot be shared")
    expect(page.get_by_role("button", name="Crop")).to_be_visible()
    expect(page.get_by_role("button", name="Add to the catalogue")).to_have_count(0)
    page.goto("/?trash")
    expect(page.locator("#key-message")).to_contain_text('The key "reader" lacks the scope "write".')
    page.keyboard.press("Escape")
    expect(page.locator("#message")).to_contain_text('The key "reader" lacks the scope "write".')


def test_the_key_can_be_changed(page: Page, data_dir: Path) -> None:
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


def test_without_keys_there_is_no_button_to_change_the_key(browser: Browser, server_url: str) -> None:
    with browser.new_context(base_url=server_url) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.locator(".tile").first).to_be_visible()
        expect(page.get_by_role("button", name="Use another key")).to_be_hidden()


def test_a_browser_that_blocks_cookies_shows_an_error(page: Page, data_dir: Path) -> None:
    page.route("**/session", lambda route: route.fulfill(status=204))
    page.goto("/?id=1&label=boot")
    type_key(page, make_key(data_dir, "forgotten", "search"))
    expect(page.locator("#message")).to_contain_text("Allow cookies for this page.")
    expect(page.locator("body")).not_to_have_class("busy")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_403_for_the_host_does_not_prompt_for_a_key(
    page: Page, browser: Browser, server_url: str, data_dir: Path
) -> None:
    page.goto("/")
    type_key(page, make_key(data_dir, "elsewhere", "search", "write"))
    expect(page.locator(".tile").first).to_be_visible()
    page.route("**/search*", refuse_host)
    page.set_input_files("#file", {"name": "own", "mimeType": "image/png", "buffer": encoded(corners(90, 60), "PNG")})
    expect(page.locator("#message")).to_have_text("The host is not allowed.")
    expect(page.get_by_role("dialog")).to_be_hidden()
    other_name = server_url.replace("127.0.0.1", "other.localhost")
    with browser.new_context(base_url=other_name) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.locator("#message")).to_contain_text("without keys only local requests are allowed")
        expect(page.get_by_role("dialog")).to_be_hidden()


def refuse_host(route: Route) -> None:
    """Respond like a service behind a proxy that sends a wrong host name: 403, with or without a key."""
    route.fulfill(status=403, json={"code": "host_not_allowed", "detail": "The host is not allowed."})


def test_hostile_metadata_is_shown_as_text(page: Page, url: str, data_dir: Path) -> None:
    key = make_key(data_dir, "writer", "write", "search")
    metadata = json.dumps([{"key": f"key {HOSTILE}", "label": f"label {HOSTILE}", "note": f"note {HOSTILE}"}])
    picture = encoded(corners(90, 60), "PNG")
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        client.post("/index", data={"metadata": metadata}, files={"images": picture}).raise_for_status()
    page.goto("/")
    type_key(page, key)
    expect(page.locator(".tile").first).to_be_visible()
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


def test_serving_on_a_public_address_requires_a_key(tmp_path: Path) -> None:
    ended = run(tmp_path / "data", "serve", LOOKALIKE_HOST="0.0.0.0")  # noqa: S104 - the service must refuse it; nothing is bound
    assert ended.returncode == 1
    assert "lookalike keys create" in ended.stderr
