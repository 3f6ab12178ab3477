"""Touch targets: at least 44 by 44 pixels for fingers (WCAG 2.5.5), in each view."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.web.conftest import TIMEOUT_MS
from tests.web.steps import open_details, open_search, open_start
from tests.web.test_accessibility import VIEWS, filter_sheet

PHONE = ViewportSize(width=390, height=844)
# A label is part of the target of the control in it. WCAG excludes links in sentences, and controls of which there is
# a larger equivalent: a tile does what its check box does.
SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, summary, input, select, textarea")]
  .filter((one) => one.checkVisibility() && !one.closest(".visually-hidden") && !one.matches(".select-box"))
  .filter((one) => !one.matches("p:not(.controls) a:not(.link), dd a"))
  .map((one) => [one.closest("label") ?? one, one])
  .filter(([target]) => {
    const { width, height } = target.getBoundingClientRect();
    return width < 43.5 || height < 43.5;
  })
  .map(([target, one]) => {
    const { width, height } = target.getBoundingClientRect();
    return `${Math.round(width)} x ${Math.round(height)}: ${one.outerHTML.slice(0, 100)}`;
  })"""


@pytest.fixture
def page(browser: Browser, server_url: str) -> Iterator[Page]:
    """A page on a phone."""
    with browser.new_context(base_url=server_url, has_touch=True, is_mobile=True, viewport=PHONE) as context:
        context.set_default_timeout(TIMEOUT_MS)
        yield context.new_page()


def start(page: Page) -> None:
    open_start(page)


def operations(page: Page) -> None:
    page.goto("/operations")
    expect(page.locator(".card h2").first).to_be_visible()
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def browse(page: Page) -> None:
    page.goto("/?label=boot")
    open_programs(page)


def details(page: Page) -> None:
    open_search(page)
    open_details(page)
    page.get_by_role("button", name="Captions").click()
    page.get_by_role("button", name="Copy as curl").click()


def open_programs(page: Page) -> None:
    page.get_by_role("button", name="Details", exact=True).click()
    expect(page.get_by_role("button", name="Copy as curl")).to_be_visible()


# Those of the accessibility checks that need no wide screen.
SHARED = [view for view in VIEWS if view.__name__ not in ("start", "results")]


@pytest.mark.parametrize("view", [*SHARED, start, operations, browse, details])
def test_touch_targets_are_large(page: Page, view: Callable[[Page], None]) -> None:
    view(page)
    expect(page.locator("body")).not_to_have_class("busy")
    assert page.evaluate("matchMedia('(pointer: coarse)').matches")
    assert page.evaluate(SMALL_TARGETS) == []


def test_thumbs_of_ranges_are_large(page: Page) -> None:
    filter_sheet(page)
    lowest = page.locator(".range-slider input").first
    lowest.scroll_into_view_if_needed()
    hits = """(input) => {
      const { left, top } = input.getBoundingClientRect();
      const hit = ([x, y]) => document.elementFromPoint(left + x, top + y) === input;
      return [[22, 2], [22, 42], [2, 22], [42, 22]].map(hit);
    }"""
    assert lowest.evaluate(hits) == [True] * 4
