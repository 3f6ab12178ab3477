"""Using the page by keyboard alone: filters, a search, and an explanation."""

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
    tab_to(page, "^Choose a picture$")
    tab_to(page, "^Add pictures$")
    tab_to(page, "^Filter$")
    page.keyboard.press("Enter")
    expect(page.locator("#filters fieldset").first).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".chip")).to_have_count(1)
    tab_to(page, "demo-", limit=80)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_be_focused()
    expect(page.locator("#heading")).to_have_text("Most similar first")
    tab_to(page, "^Search options$")
    page.keyboard.press("Enter")
    tab_to(page, "^Remove ", limit=10)
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.get_by_role("button", name="Filter", exact=True)).to_be_focused()
    tab_to(page, "^Why was", limit=100)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Why was this found?")).to_be_visible()
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_results_are_announced_to_screen_readers(page: Page) -> None:
    open_start(page)
    expect(page.locator("#status")).to_have_text("Try one of these: 24 shown")
    page.locator(".tile").first.press("Enter")
    expect(page.locator("#status")).to_have_text("Most similar first: 24 shown")
