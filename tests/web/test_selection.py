"""Selecting pictures, and what can be done with many at once."""

import re

from playwright.sync_api import Browser, Page, expect

from tests.web.conftest import TIMEOUT_MS
from tests.web.selecting import bar, box, selected, tile
from tests.web.steps import open_search, shown_ids


def test_check_boxes_shift_and_clicks(listed: Page) -> None:
    page = listed
    expect(box(page, 1)).to_have_css("opacity", "0")
    tile(page, 1).hover()
    expect(box(page, 1)).to_have_css("opacity", "1")
    box(page, 2).click()
    expect(bar(page)).to_contain_text("1 selected")
    box(page, 4).click(modifiers=["Shift"])
    assert selected(page) == [2, 3, 4]
    tile(page, 6).click()  # while pictures are selected, a click selects
    assert selected(page) == [2, 3, 4, 6]
    tile(page, 3).click()
    assert selected(page) == [2, 4, 6]
    bar(page).get_by_role("button", name="Clear the selection").click()
    expect(bar(page)).to_be_hidden()
    assert selected(page) == []
    assert re.search(r"label=own&sort=n$", page.url)


def test_keyboard_alone(listed: Page) -> None:
    page = listed
    tile(page, 2).focus()
    page.keyboard.press("x")
    assert selected(page) == [2]
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == [2, 3, 4]
    page.keyboard.press("Shift+ArrowLeft")
    assert selected(page) == [2, 3]
    expect(tile(page, 3)).to_be_focused()
    page.keyboard.press("Space")
    assert selected(page) == [2]
    page.keyboard.press("Control+a")
    assert selected(page) == [1, 2, 3, 4, 5, 6]
    page.keyboard.press("Escape")
    assert selected(page) == []
    expect(tile(page, 3)).to_be_focused()


def test_a_rectangle_selects_the_tiles_that_it_touches(listed: Page) -> None:
    page = listed
    first, third = tile(page, 1).bounding_box(), tile(page, 3).bounding_box()
    assert first is not None
    assert third is not None
    page.mouse.move(first["x"] + 80, first["y"] + 60)
    page.mouse.down()
    page.mouse.move(third["x"] + 30, third["y"] + 90, steps=5)
    assert selected(page) == [1, 2, 3]
    page.mouse.move(third["x"] - 30, third["y"] + 90, steps=5)
    page.mouse.up()
    assert selected(page) == [1, 2]
    assert re.search(r"label=own&sort=n$", page.url)  # releasing the button is no click
    page.keyboard.press("Escape")
    tile(page, 1).click()
    expect(page).to_have_url(re.compile("open="))


def test_a_long_press_selects_on_touch_screens(browser: Browser, server_url: str, own: list[str]) -> None:
    with browser.new_context(
        base_url=server_url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as context:
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.goto("/?label=own&sort=n")
        expect(tile(page, 1)).to_be_visible()
        expect(box(page, 1)).to_be_hidden()
        place = tile(page, 1).bounding_box()
        assert place is not None
        touch = context.new_cdp_session(page)
        points = [{"x": place["x"] + 60, "y": place["y"] + 60}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
        expect(bar(page)).to_contain_text("1 selected")
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(box(page, 2)).to_be_visible()
        tile(page, 2).tap()
        expect(bar(page)).to_contain_text("2 selected")
        assert selected(page) == [1, 2]
        sizes = (
            bar(page)
            .get_by_role("button")
            .evaluate_all(
                "(buttons) => buttons.map((one) => one.getBoundingClientRect()).filter(({ width }) => width)"
                ".map(({ width, height }) => Math.min(width, height))"
            )
        )
        assert min(sizes) >= 44
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_the_selection_holds_while_rows_leave_the_document(page: Page) -> None:
    page.goto("/")
    box(page, 1).click()
    page.evaluate("document.activeElement.blur()")  # the focused one stays
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(tile(page, 1)).to_have_count(0)
    expect(page.locator(".placeholder")).to_have_count(0)
    page.evaluate("scrollTo(0, 0)")
    expect(box(page, 1)).to_be_checked()


def test_results_of_a_search_can_be_selected(page: Page) -> None:
    open_search(page)
    ids = shown_ids(page)
    page.locator(".tile").nth(1).focus()
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("li.selected .tile")).to_have_count(2)
    chosen = page.locator("li.selected .tile").evaluate_all("(tiles) => tiles.map((one) => one.dataset.id)")
    assert chosen == ids[1:3]
    expect(bar(page).get_by_role("button", name=re.compile("Select all"))).to_be_hidden()
