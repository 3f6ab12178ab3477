"""Layout in light and dark at all widths, reduced motion, and the content security policy."""

import re
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import AddPicture
from tests.web.steps import (
    chips,
    choose_mode,
    horizontal_overflow,
    open_cropper,
    open_details,
    open_panel,
    open_search,
    open_start,
    search_with_file,
    search_with_tile,
)

RED_OF_PAGE = r"Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])"
OVERFLOW = "(element) => element.scrollWidth - element.clientWidth"
LONG = "an-endless-word-that-no-browser-can-break-" * 10


@pytest.mark.parametrize(("scheme", "darkest", "lightest"), [("light", 192, 255), ("dark", 0, 64)])
def test_no_horizontal_scrolling_at_any_width(
    page: Page, scheme: Literal["light", "dark"], darkest: int, lightest: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    open_start(page)
    assert darkest <= page.evaluate(RED_OF_PAGE) <= lightest
    start = overflows(page)
    search_with_file(page)
    search_with_tile(page, 1)
    open_details(page)
    page.get_by_role("button", name="Captions").click()
    open_panel(page, 0)
    expect(page.locator("#filters fieldset").first).to_be_visible()
    assert start + overflows(page) == [0] * 6


def overflows(page: Page) -> list[int]:
    """Return the horizontal overflow on a phone, a tablet and a desktop."""
    found: list[int] = []
    for width, height in [(360, 740), (820, 1180), (1920, 1080)]:
        page.set_viewport_size({"width": width, "height": height})
        found.append(horizontal_overflow(page))
    return found


def test_long_words_do_not_break_the_layout(page: Page, add_picture: AddPicture) -> None:
    image_id = add_picture(key=LONG, label=LONG, **{LONG: LONG, "short": LONG})
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"/?id={image_id}&label={LONG}")
    expect(page.locator("#query")).to_contain_text(LONG)
    assert chips(page) == [f"label: {LONG}"]
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#filters fieldset").first).to_contain_text(LONG)
    assert horizontal_overflow(page) == 0
    page.locator("#show-results").click()
    page.get_by_role("button", name=f"Details of {LONG}").click()
    expect(page.locator("#panel .field-table dd").first).to_contain_text(LONG)
    assert page.locator("#panel").evaluate(OVERFLOW) == 0
    page.get_by_role("button", name="Edit").click()
    expect(page.locator("dialog.edit")).to_be_visible()
    assert page.locator("dialog.edit").evaluate(OVERFLOW) == 0


def test_reduced_motion_disables_animations(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    open_search(page)
    running = "document.getAnimations().filter((animation) => animation.playState === 'running').length"
    page.locator(".tile").first.hover()
    assert page.evaluate(running) == 0


def test_content_security_policy_holds_and_all_requests_stay_on_the_origin(page: Page, server_url: str) -> None:
    errors: list[str] = []
    urls: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(error.message))
    page.on("request", lambda request: urls.append(request.url))
    policy = page.request.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    open_start(page)
    search_with_file(page)
    search_with_tile(page, 1)
    choose_mode(page, "Exact")
    expect(page).to_have_url(re.compile(r"&mode=es$"))
    open_cropper(page)
    page.get_by_role("button", name="Search with a part").click()
    expect(page).to_have_url(re.compile("crop="))
    page.get_by_role("button", name="Done").click()
    expect(page.locator("#filters fieldset").first).to_be_visible()
    open_panel(page, 0)
    page.get_by_text("What the model sees").click()
    expect(page.locator("#panel .seen img")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    page.go_back()
    page.go_back()
    expect(page.locator("#query")).to_contain_text("given.jpg")
    assert errors == []
    own = (server_url.rstrip("/") + "/", f"blob:{server_url.rstrip('/')}/")
    assert [url for url in urls if not url.startswith(own)] == []
