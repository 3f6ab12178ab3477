"""The page by keyboard alone, from the start to a result, its reason and the filters."""

import re

from playwright.sync_api import Page, expect

from tests.web.steps import open_start

FOCUSED = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent.trim()"


def tab_to(page: Page, name: str, most: int = 60) -> None:
    """Presses Tab until a control with this name has the focus, which must show."""
    seen: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(FOCUSED))
        if re.search(name, seen[-1]):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{name} has the focus and does not show it"
            return
    raise AssertionError(f"no {name} among {seen}")


def test_everything_can_be_done_without_a_mouse(page: Page) -> None:
    open_start(page)
    tab_to(page, "^Choose a picture$")
    tab_to(page, "^Add pictures$")
    tab_to(page, "^Filter$")
    page.keyboard.press("Enter")
    expect(page.locator("#filters fieldset").first).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.locator(".chip")).to_have_count(1)
    tab_to(page, "demo-", most=80)
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_be_focused()
    expect(page.locator("#heading")).to_have_text("Most alike first")
    tab_to(page, "^More ways to search$")
    page.keyboard.press("Enter")
    tab_to(page, "Take away", most=10)
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.get_by_role("button", name="Filter", exact=True)).to_be_focused()
    tab_to(page, "^Why is", most=100)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Why is this here?")).to_be_visible()
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_what_happens_is_told_to_those_who_hear_it(page: Page) -> None:
    open_start(page)
    expect(page.locator("#status")).to_have_text("Try one of these: 24 shown")
    page.locator(".tile").first.press("Enter")
    expect(page.locator("#status")).to_have_text("Most alike first: 24 shown")
