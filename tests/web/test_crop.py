"""Searching with a part of the picture: the box by mouse, finger and keyboard."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.pictures import corners, encoded
from tests.web.conftest import AddPicture
from tests.web.steps import hold, open_search, open_start, search_with_file, shown_ids

LONGER_THAN_A_BOX_SETTLES_MS = 1000
CROP = re.compile(r"crop=(\d+)%2C(\d+)%2C(\d+)%2C(\d+)")


def crop(page: Page) -> list[int]:
    """The box in the address, once there is one."""
    expect(page).to_have_url(CROP)
    found = CROP.search(page.url)
    assert found
    return [int(number) for number in found.groups()]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drags over the picture, in shares of its sides."""
    stage = page.locator(".stage").bounding_box()
    assert stage
    (x0, y0), (x1, y1) = ((stage["x"] + x * stage["width"], stage["y"] + y * stage["height"]) for x, y in (start, end))
    page.mouse.move(x0, y0)
    page.mouse.down()
    page.mouse.move((x0 + x1) / 2, (y0 + y1) / 2)
    page.mouse.move(x1, y1)
    page.mouse.up()


def choose(page: Page, width: int, height: int, kind: str = "PNG", orientation: int | None = None) -> None:
    picture = encoded(corners(width, height), kind, orientation)
    page.set_input_files("#file", {"name": f"own.{kind}", "mimeType": f"image/{kind.lower()}", "buffer": picture})
    expect(page).to_have_url(re.compile(r"\?upload="))


def test_a_mouse_draws_moves_and_resizes_the_box(page: Page) -> None:
    open_start(page)
    choose(page, 400, 200)
    drag(page, (0.1, 0.2), (0.5, 0.8))
    assert crop(page) == pytest.approx([40, 40, 160, 120], abs=3)
    drag(page, (0.3, 0.5), (0.5, 0.5))
    expect(page).to_have_url(re.compile("crop=1[12]"))
    assert crop(page) == pytest.approx([120, 40, 160, 120], abs=3)
    drag(page, (0.7, 0.8), (0.95, 1.2))
    expect(page).to_have_url(re.compile(r"crop=\d+%2C\d+%2C2"))
    assert crop(page) == pytest.approx([120, 40, 260, 160], abs=3)


def test_the_part_is_what_is_searched_with(page: Page) -> None:
    open_start(page)
    choose(page, 400, 200)
    expect(page.locator(".tile")).to_have_count(24)
    with page.expect_request(re.compile(r"/search\?.*crop=")) as request:
        drag(page, (0.02, 0.02), (0.48, 0.48))
    asked = request.value.url
    x, y, width, height = crop(page)
    assert f"crop={x}%2C{y}%2C{width}%2C{height}" in asked
    red = page.request.post(
        "/search?k=24",
        multipart={
            "image": {"name": "a.png", "mimeType": "image/png", "buffer": encoded(corners().crop((0, 0, 9, 9)), "PNG")}
        },
    )
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(red.json()["results"][0]["id"]))


def test_a_turned_photograph_is_cropped_as_it_is_seen(page: Page) -> None:
    open_start(page)
    choose(page, 200, 400, "JPEG", orientation=6)
    drag(page, (0.5, 0.5), (1, 1))
    assert crop(page) == pytest.approx([100, 200, 100, 200], abs=3)


def test_keys_place_move_resize_and_take_away_the_box(page: Page) -> None:
    open_search(page)
    whole = shown_ids(page)
    page.get_by_role("button", name="Search with a part").focus()
    page.keyboard.press("Enter")
    x, y, width, height = crop(page)
    expect(page.locator(".box")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page).not_to_have_url(re.compile(f"crop={x}%2C{y}%2C"))
    moved_x, moved_y, narrower, same = crop(page)
    assert moved_x - x == moved_y - y == width - narrower > 0
    assert same == height
    expect(page.locator(".box")).to_have_accessible_name(
        re.compile(rf"^The part searched with, {narrower} by {height}")
    )
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("crop="))
    expect(page.get_by_role("button", name="Search with a part")).to_be_focused()
    assert shown_ids(page) == whole


def test_keys_never_move_the_box_out_of_the_picture(page: Page, add_picture: AddPicture) -> None:
    page.goto(f"/?id={add_picture(key='own')}&crop=90,60,30,30")
    page.locator(".box").focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile("crop=88%2C60%2C30%2C30"))
    expect(page.locator("#message")).to_be_empty()


def test_a_part_of_a_catalogue_picture_is_in_the_address(page: Page) -> None:
    picture_id = open_search(page)
    drag(page, (0.3, 0.3), (0.7, 0.7))
    crop(page)
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    results, address = shown_ids(page), page.url
    assert picture_id not in results
    page.goto("/")
    page.goto(address)
    expect(page.locator(".box")).to_be_visible()
    assert shown_ids(page) == results


def test_the_way_on_has_no_box_and_the_way_back_has_it_again(page: Page) -> None:
    open_search(page)
    drag(page, (0.2, 0.2), (0.6, 0.6))
    box = crop(page)
    page.locator(".tile").first.click()
    expect(page).not_to_have_url(CROP)
    expect(page.locator(".box")).to_be_hidden()
    page.locator("#trail a").nth(1).click()
    assert crop(page) == box


BOX, TILE = ".cropper > button", "a.tile"


@pytest.mark.parametrize("clicks", [[BOX, TILE], [TILE, BOX]])
def test_a_box_is_not_for_the_picture_that_was_clicked_meanwhile(page: Page, clicks: list[str]) -> None:
    open_search(page)
    held = hold(page, "**/images/*/similar*")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.evaluate("(clicks) => clicks.forEach((what) => document.querySelector(what).click())", clicks)
    page.wait_for_timeout(LONGER_THAN_A_BOX_SETTLES_MS)
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    expect(page).to_have_url(re.compile(r"\?id=\d+$"))
    expect(page.locator(".box")).to_be_hidden()
    assert not [url for url in asked if "crop=" in url]


def test_a_box_outside_the_picture_is_told(page: Page) -> None:
    picture_id = open_search(page)
    page.goto(f"/?id={picture_id}&crop=0,0,90000,90000")
    expect(page.locator("#message")).to_contain_text("90000")


def test_a_picture_that_the_browser_cannot_show_says_so(page: Page) -> None:
    open_start(page)
    picture = encoded(corners(64, 48), "HEIF")
    page.set_input_files("#file", {"name": "own.heic", "mimeType": "image/heic", "buffer": picture})
    expect(page.locator(".tile").first).to_be_visible()
    expect(page.locator("#query")).to_contain_text("This browser cannot show the picture.")
    expect(page.get_by_role("button", name="Search with a part")).to_have_count(0)


def test_a_finger_moves_the_box_and_scrolls_where_there_is_none(browser: Browser, server_url: str) -> None:
    with browser.new_context(base_url=server_url, has_touch=True, viewport={"width": 360, "height": 740}) as context:
        page = context.new_page()
        open_search(page)
        expect(page.locator(".stage")).to_have_css("touch-action", "auto")
        page.get_by_role("button", name="Search with a part").tap()
        before = crop(page)
        expect(page.locator(".stage")).to_have_css("touch-action", "none")
        frame = page.locator(".box").bounding_box()
        assert frame
        x, y = frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2
        session = context.new_cdp_session(page)
        for kind, at in (("touchStart", x), ("touchMove", x + 10), ("touchMove", x + 20), ("touchEnd", None)):
            points = [] if at is None else [{"x": at, "y": y}]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        expect(page).not_to_have_url(re.compile(f"crop={before[0]}%2C"))
        after = crop(page)
        assert after[0] > before[0]
        assert after[1:] == before[1:]


def test_a_crop_of_an_upload_holds_on_the_way_back(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    drag(page, (0.1, 0.1), (0.6, 0.6))
    crop(page)
    address = page.url
    page.locator(".tile").first.click()
    expect(page).not_to_have_url(CROP)
    page.go_back()
    expect(page).to_have_url(address)
    expect(page.locator(".box")).to_be_visible()
