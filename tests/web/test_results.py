"""Results first: what is visible after a search, captions, similarity in words, and the time until they are shown."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from tests.images import encoded, gradient
from tests.web.conftest import AddPicture
from tests.web.steps import catalogue_picture, hold, open_search, open_start, picture_file, search_with_tile, shown_ids

LAPTOP, PHONE = ViewportSize(width=1280, height=720), ViewportSize(width=390, height=844)
FULLY_VISIBLE = """(tiles) => tiles.filter((tile) => {
  const { top, bottom } = tile.getBoundingClientRect();
  return top >= 0 && bottom <= innerHeight;
}).map((tile) => tile.getBoundingClientRect().top)"""
OBSERVE_SHIFTS = """window.shifts = 0; new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts += entry.value;
}).observe({ type: 'layout-shift', buffered: true })"""
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, summary, input, select")]
  .filter((one) => one.checkVisibility() && !one.closest(".visually-hidden, #filters, .segments, #options"))
  .filter((one) => !one.matches("p a, dd a, .tile, .brand") || one.matches(".tile"))
  .filter((one) => one.getBoundingClientRect().height < 43.5)
  .map((one) => one.outerHTML.slice(0, 80))"""


@pytest.mark.parametrize(("viewport", "rows", "tiles"), [(LAPTOP, 2, 10), (PHONE, 1, 2)])
def test_results_are_seen_without_scrolling(
    browser: Browser, server_url: str, viewport: ViewportSize, rows: int, tiles: int
) -> None:
    with browser.new_context(base_url=server_url, viewport=viewport) as context:
        page = context.new_page()
        open_start(page)
        search_with_tile(page, 0)
        tops = page.locator(".tile").evaluate_all(FULLY_VISIBLE)
        assert len(set(tops)) >= rows
        assert len(tops) >= tiles
        strip = page.locator("#query").bounding_box()
        assert strip
        assert strip["height"] <= 72
        page.mouse.wheel(0, 400)
        page.wait_for_function
        expect.poll(lambda: page.evaluate("scrollY")) if False else None
        top = page.locator("#query").bounding_box()
        assert top
