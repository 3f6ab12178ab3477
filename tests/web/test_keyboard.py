"""Using the page by keyboard alone: filters, a search, the panel, many pictures, and duplicates."""

import re

import httpx2
from playwright.sync_api import Page, expect

from tests.web.selecting import bar
from tests.web.steps import open_start
from tests.web.test_duplicates import add_copies, open_group

FOCUSED = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"


def tab_to(page: Page, name: str, limit: int = 60) -> None:
    """Press Tab until a control with this name has the focus, and check that its outline is visible."""
    seen: list[str] = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        if re.search(name, seen[-1]):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{name} has the focus without an outline"
            return
    raise AssertionError(f"no {name} among {seen}")


def test_a_search_can_be_done_by_keyboard_alone(page: Page) -> None:
    open_start(page)
    expect(page.locator("#filters fieldset").first).to_be_visible()
    tab_to(page, "^Choose a picture$")
    tab_to(page, "^Search by words$")
    tab_to(page, "^Add pictures$")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('#filters input')"):
            break
    page.keyboard.press("Space")
    expect(page.locator(".chip")).to_have_count(1)
    tab_to(page, "·", limit=80)  # of a tile
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_be_focused()
    tab_to(page, "^Find similar$", limit=10)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_be_focused()
    expect(page.locator("#heading")).to_have_text("Most similar first")
    tab_to(page, "^Details$")
    page.keyboard.press("Enter")
    tab_to(page, "^Remove ", limit=15)
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.locator("#heading")).to_be_focused()


def test_results_are_announced_to_screen_readers(page: Page) -> None:
    open_start(page)
    total = page.request.get("/stats").json()["images"]
    expect(page.locator("#status")).to_have_text(f"Try one of these: {total} shown")
    page.locator(".tile").first.press("Enter")
    page.get_by_role("link", name="Find similar").press("Enter")
    expect(page.locator("#status")).to_have_text("Most similar first: 24 shown")


def test_many_pictures_are_changed_and_deleted_by_keyboard_alone(
    listed: Page, catalogue: httpx2.Client, own: list[str]
) -> None:
    page = listed
    tab_to(page, "^own.*red$")
    page.keyboard.press("Space")
    page.keyboard.press("Shift+ArrowRight")
    expect(bar(page)).to_contain_text("2 selected")
    tab_to(page, "^Label…$")
    page.keyboard.press("Enter")
    page.keyboard.type("hats")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(bar(page).get_by_role("button", name="Label…")).to_be_focused()
    tab_to(page, "^Field…$", limit=1)
    page.keyboard.press("Enter")
    page.keyboard.type("season")
    page.keyboard.press("Tab")
    page.keyboard.type("2019")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("2 pictures changed")
    expect(bar(page).get_by_role("button", name="Field…")).to_be_focused()
    assert [catalogue.get(f"/images/{one}").json()["label"] for one in own] == ["own"] * 6
    tab_to(page, "^Delete…$", limit=2)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Enter")
    tab_to(page, "^Delete$", limit=5)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("4 pictures match")
    tab_to(page, "^Undo$", limit=80)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("6 pictures match")
    seasons = [catalogue.get(f"/images/{one}").json()["metadata"].get("season") for one in own]
    assert seasons == [2019, 2019, None, None, None, None]


def test_duplicates_are_reviewed_by_keyboard_alone(page: Page, catalogue: httpx2.Client) -> None:
    original, large, small, _ = add_copies(page, catalogue)
    group = open_group(page, large)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == large:
            break
    page.keyboard.press("ArrowLeft")
    expect(group.locator(f"input[value='{original}']")).to_be_checked()
    tab_to(page, "^Keep one, delete the rest$", limit=10)
    page.keyboard.press("Enter")
    expect(page.locator(".decided")).to_contain_text("2 pictures deleted.")
    assert [catalogue.get(f"/images/{one}").status_code for one in (original, large, small)] == [200, 404, 404]
    tab_to(page, "^Undo$", limit=80)
    page.keyboard.press("Enter")
    expect(group.locator(f"input[value='{original}']")).to_be_focused()
    tab_to(page, "^All different$", limit=5)
    page.keyboard.press("Enter")
    expect(page.locator(".decided")).to_contain_text("Not the same: ")
    assert catalogue.get(f"/images/{large}").status_code == 200
