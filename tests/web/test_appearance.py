"""What pictures and buttons look like in light and dark, and by how much the layout shifts."""

import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.web.selecting import bar
from tests.web.steps import catalogue_picture, hold, open_panel, open_start, picture_file, search_with_file
from tests.web.test_accessibility import duplicates, selection
from tests.web.test_results import LAPTOP, PHONE

DANGER: dict[Literal["light", "dark"], str] = {"light": "rgb(173, 31, 45)", "dark": "rgb(255, 156, 156)"}
# Unlike the shifts that browsers report, these include those that follow a click.
OBSERVE_ALL_SHIFTS = """new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.shifts.push(entry);
}).observe({ type: 'layout-shift', buffered: true }); window.shifts = []"""
# A part of the page opens by a click and moves others: what counts are shifts inside it.
SHIFTS_WITHIN = """(selector) => window.shifts
  .filter(({ sources }) => sources.some(({ node }) => node?.parentElement?.closest(selector)))
  .reduce((sum, { value }) => sum + value, 0)"""


def in_both_schemes(page: Page, check: Callable[[str], None]) -> None:
    for scheme, red in DANGER.items():
        page.emulate_media(color_scheme=scheme)
        check(red)


def test_deleting_is_red(page: Page) -> None:
    def has(property_name: str, control: Locator) -> None:
        in_both_schemes(page, lambda red: expect(control).to_have_css(property_name, red))

    selection(page)
    control = bar(page).get_by_role("button", name="Delete…")
    has("color", control)
    control.click()
    has("background-color", page.get_by_role("dialog").get_by_role("button", name="Delete"))
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    open_panel(page, 0)
    has("color", page.locator("#panel").get_by_role("button", name="Delete"))
    duplicates(page)
    has("color", page.get_by_role("button", name="Keep one, delete the rest"))


def test_pictures_are_shown_whole(page: Page) -> None:
    def is_whole(pictures: Locator) -> None:
        fits = pictures.evaluate_all("(all) => all.map((one) => getComputedStyle(one).objectFit)")
        assert set(fits) == {"contain"}

    def all_are_whole(_: str) -> None:
        is_whole(page.locator(".tile img, #query img, #panel .large-picture img"))

    open_start(page)
    in_both_schemes(page, all_are_whole)
    search_with_file(page)
    expect(page.locator("#query .crop-button")).to_be_visible()
    open_panel(page, 0)
    in_both_schemes(page, all_are_whole)
    duplicates(page)
    in_both_schemes(page, lambda _: is_whole(page.locator(".comparison img")))


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE])
def test_layout_hardly_shifts_after_an_upload_and_in_the_panel(
    browser: Browser, server_url: str, viewport: ViewportSize
) -> None:
    with browser.new_context(base_url=server_url, viewport=viewport) as context:
        page = context.new_page()
        page.add_init_script(OBSERVE_ALL_SHIFTS)
        open_start(page)
        settle(page)
        # The start gives way to the strip and empty tiles at once; what counts is what moves afterwards.
        held = hold(page, "**/search?*")
        picture = picture_file(page, catalogue_picture(page)[1])
        page.set_input_files("#file", picture)
        expect(page.locator("#skeleton")).to_be_visible()
        page.wait_for_timeout(300)
        page.evaluate("window.shifts = []")
        held[0].continue_()
        expect(page.locator("#query .crop-button")).to_be_visible()
        settle(page)
        assert page.evaluate(SHIFTS_WITHIN, "body") < 0.05
        page.evaluate("window.shifts = []")
        open_panel(page, 1)
        expect(page.locator("#panel .large-picture img")).to_have_attribute("src", re.compile("original"))
        settle(page)
        assert page.evaluate(SHIFTS_WITHIN, "#panel" if viewport == LAPTOP else "body") < 0.05


def settle(page: Page) -> None:
    """Wait until the first pictures are drawn."""
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    page.locator(".tile img").evaluate_all("(images) => Promise.all(images.slice(0, 6).map((one) => one.decode()))")
    page.wait_for_timeout(300)
