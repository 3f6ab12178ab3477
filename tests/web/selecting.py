"""Helpers for browser tests: select tiles, and read what is selected."""

from playwright.sync_api import Locator, Page


def tile(page: Page, position: int) -> Locator:
    """Return the tile at a position, from 1."""
    return page.locator(f"[aria-posinset='{position}'] .tile")


def box(page: Page, position: int) -> Locator:
    return page.locator(f"[aria-posinset='{position}'] .select-box")


def selected(page: Page) -> list[int]:
    """Return the positions of the selected tiles."""
    found: list[int] = page.locator("li.selected").evaluate_all(
        "(items) => items.map((item) => Number(item.getAttribute('aria-posinset')))"
    )
    return found


def bar(page: Page) -> Locator:
    return page.get_by_role("region", name="Selected pictures")
