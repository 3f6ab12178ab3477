"""Using the page by keyboard alone: filters, a search, and the panel."""

import re

from playwright.sync_api import Page, expect

from tests.web.steps import open_start

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
