"""The page of a service that asks for keys, in a real browser."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import running_server

KEYS = (sys.executable, "-m", "app.cli.main", "keys")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with a key: its address, and the key."""
    data_dir = tmp_path_factory.mktemp("locked") / "data"
    with running_server(data_dir) as (url, _):
        made = subprocess.run(
            [*KEYS, "create", "page", "--scope", "search"],
            env=os.environ | {"LOOKALIKE_DATA_DIR": str(data_dir)},
            capture_output=True,
            text=True,
            check=True,
        )
        yield url, made.stdout.strip()


@pytest.fixture
def page(browser: Browser, locked: tuple[str, str]) -> Iterator[Page]:
    with browser.new_context(base_url=locked[0]) as context:
        yield context.new_page()


def test_the_page_asks_for_a_key_once_and_shows_pictures_with_it(page: Page, locked: tuple[str, str]) -> None:
    page.goto("/")
    dialog = page.get_by_role("dialog", name="This catalogue asks for a key")
    expect(dialog).to_be_visible()
    page.get_by_label("API key").fill("lk_1_wrong")
    page.get_by_role("button", name="Open").click()
    expect(page.locator("#key-message")).to_contain_text("not known here")
    page.get_by_label("API key").fill(locked[1])
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.locator(".tile")).to_have_count(24)
    shown = page.locator(".tile img").first
    assert shown.evaluate("(img) => img.decode().then(() => img.naturalWidth)") > 100
    page.reload()
    expect(page.locator(".tile")).to_have_count(24)
    expect(dialog).to_be_hidden()
    assert locked[1] not in page.evaluate("document.cookie")


def test_who_has_no_key_reads_why_nothing_is_shown(page: Page) -> None:
    page.goto("/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#message")).to_contain_text("Without a key")


def test_another_address_wants_a_key_first(tmp_path: Path) -> None:
    environment = os.environ | {"LOOKALIKE_DATA_DIR": str(tmp_path / "data"), "LOOKALIKE_HOST": "0.0.0.0"}  # noqa: S104 - what is refused
    serve = [sys.executable, "-m", "app.cli.main", "serve"]
    ended = subprocess.run(serve, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "lookalike keys create" in ended.stderr
