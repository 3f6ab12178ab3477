"""How the page looks and what it may load: light and dark, phone to desk, the server's own content policy."""

import re
from typing import Literal

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import AddPicture
from tests.web.steps import chips, open_search, open_start, overhang, search_with_file, search_with_tile

RED_OF_PAGE = r"Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])"
LONG = "an-endless-word-that-no-browser-can-break-" * 10


@pytest.mark.parametrize(("scheme", "darkest", "lightest"), [("light", 192, 255), ("dark", 0, 64)])
def test_no_screen_scrolls_sideways_in_light_or_dark(
    page: Page, scheme: Literal["light", "dark"], darkest: int, lightest: int
) -> None:
    page.emulate_media(color_scheme=scheme)
    open_start(page)
    assert darkest <= page.evaluate(RED_OF_PAGE) <= lightest
    start = overhangs(page)
    search_with_file(page)
    search_with_tile(page, 1)
    page.get_by_role("button", name="Filter", exact=True).click()
    page.get_by_role("button", name="More ways to search").click()
    expect(page.locator("#filters fieldset").first).to_be_visible()
    assert start + overhangs(page) == [0] * 6


def overhangs(page: Page) -> list[int]:
    """On a phone, a tablet and a desk."""
    found: list[int] = []
    for width, height in [(360, 740), (820, 1180), (1920, 1080)]:
        page.set_viewport_size({"width": width, "height": height})
        found.append(overhang(page))
    return found


def test_long_words_break_no_layout(page: Page, add_picture: AddPicture) -> None:
    picture_id = add_picture(key=LONG, label=LONG, **{LONG: LONG, "short": LONG})
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"/?id={picture_id}&label={LONG}")
    expect(page.locator("#query")).to_contain_text(LONG)
    assert chips(page) == [f"label: {LONG}"]
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#filters fieldset").first).to_contain_text(LONG)
    assert overhang(page) == 0
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.get_by_role("dialog").evaluate("(dialog) => dialog.scrollWidth - dialog.clientWidth") == 0


def test_nothing_moves_for_those_who_ask_for_rest(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    open_search(page)
    moving = "document.getAnimations().filter((animation) => animation.playState === 'running').length"
    page.locator(".tile").first.hover()
    assert page.evaluate(moving) == 0


def test_the_servers_policy_holds_and_nothing_leaves_the_origin(page: Page, server_url: str) -> None:
    complaints: list[str] = []
    addresses: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(error.message))
    page.on("request", lambda request: addresses.append(request.url))
    policy = page.request.get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    open_start(page)
    search_with_file(page)
    search_with_tile(page, 1)
    page.get_by_role("radio", name="Exact").check()
    expect(page).to_have_url(re.compile(r"&mode=es$"))
    page.get_by_role("button", name="Search with a part").click()
    expect(page).to_have_url(re.compile("crop="))
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#filters fieldset").first).to_be_visible()
    page.locator(".tile").first.hover()
    page.get_by_role("button", name="Why").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.go_back()
    expect(page.locator("#query")).to_contain_text("given.jpg")
    assert complaints == []
    own = (server_url.rstrip("/") + "/", f"blob:{server_url.rstrip('/')}/")
    assert [address for address in addresses if not address.startswith(own)] == []
