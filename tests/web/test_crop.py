"""Searching with a crop: the crop rectangle by mouse, touch and keyboard."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.images import corners, encoded
from tests.web.conftest import AddPicture
from tests.web.steps import (
    hold,
    open_cropper,
    open_panel,
    open_search,
    open_start,
    search_with_file,
    search_with_tile,
    shown_ids,
)

LONGER_THAN_DEBOUNCE_MS = 1000
CROP = re.compile(r"crop=(\d+)%2C(\d+)%2C(\d+)%2C(\d+)")


def crop(page: Page) -> list[int]:
    """Wait for a crop in the URL and return it."""
    expect(page).to_have_url(CROP)
    found = CROP.search(page.url)
    assert found
    return [int(number) for number in found.groups()]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag over the picture; positions are fractions of its width and height."""
    if not page.locator(".stage").is_visible():
        open_cropper(page)
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


def test_mouse_draws_moves_and_resizes_the_crop_rectangle(page: Page) -> None:
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


def test_the_search_uses_only_the_crop(page: Page) -> None:
    open_start(page)
    choose(page, 400, 200)
    expect(page.locator(".tile")).to_have_count(24)
    with page.expect_request(re.compile(r"/search\?.*crop=")) as request:
        drag(page, (0.02, 0.02), (0.48, 0.48))
    url = request.value.url
    x, y, width, height = crop(page)
    assert f"crop={x}%2C{y}%2C{width}%2C{height}" in url
    red = page.request.post(
        "/search?k=24",
        multipart={
            "image": {"name": "a.png", "mimeType": "image/png", "buffer": encoded(corners().crop((0, 0, 9, 9)), "PNG")}
        },
    )
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(red.json()["results"][0]["id"]))


def test_crop_coordinates_respect_exif_orientation(page: Page) -> None:
    open_start(page)
    choose(page, 200, 400, "JPEG", orientation=6)
    drag(page, (0.5, 0.5), (1, 1))
    assert crop(page) == pytest.approx([100, 200, 100, 200], abs=3)


def test_keys_create_move_resize_and_remove_the_crop_rectangle(page: Page) -> None:
    open_search(page)
    whole = shown_ids(page)
    page.locator(".crop-button").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Search with a part")).to_be_focused()
    page.keyboard.press("Enter")
    x, y, width, height = crop(page)
    expect(page.locator(".crop-rectangle")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page).not_to_have_url(re.compile(f"crop={x}%2C{y}%2C"))
    moved_x, moved_y, narrower, same = crop(page)
    assert moved_x - x == moved_y - y == width - narrower > 0
    assert same == height
    expect(page.locator(".crop-rectangle")).to_have_accessible_name(
        re.compile(rf"^Crop rectangle, {narrower} by {height}")
    )
    page.keyboard.press("Escape")
    expect(page).not_to_have_url(re.compile("crop="))
    expect(page.get_by_role("button", name="Search with a part")).to_be_focused()
    assert shown_ids(page) == whole
    page.keyboard.press("Escape")
    expect(page.locator(".stage")).to_be_hidden()
    expect(page.locator(".crop-button")).to_be_focused()


def test_keys_keep_the_crop_rectangle_inside_the_picture(page: Page, add_picture: AddPicture) -> None:
    page.goto(f"/?id={add_picture(key='own')}&crop=90,60,30,30")
    open_cropper(page)
    page.locator(".crop-rectangle").focus()
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("ArrowLeft")
    expect(page).to_have_url(re.compile("crop=88%2C60%2C30%2C30"))
    expect(page.locator("#message")).to_be_empty()


def test_the_url_restores_a_crop_of_a_catalogue_picture(page: Page) -> None:
    image_id = open_search(page)
    drag(page, (0.3, 0.3), (0.7, 0.7))
    crop(page)
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    results, address = shown_ids(page), page.url
    assert image_id not in results
    page.goto("/")
    page.goto(address)
    expect(page.locator(".crop-mark")).to_be_visible()
    open_cropper(page)
    expect(page.locator(".crop-rectangle")).to_be_visible()
    assert shown_ids(page) == results


def test_a_new_search_has_no_crop_and_the_breadcrumb_restores_it(page: Page) -> None:
    open_search(page)
    drag(page, (0.2, 0.2), (0.6, 0.6))
    before = crop(page)
    page.get_by_role("button", name="Done").click()
    search_with_tile(page, 0)
    expect(page).not_to_have_url(CROP)
    expect(page.locator(".crop-mark")).to_have_count(0)
    page.locator("#breadcrumbs a").nth(1).click()
    assert crop(page) == before


CROP_BUTTON, FIND = ".cropper .link", "#panel a.primary"


@pytest.mark.parametrize("clicks", [[CROP_BUTTON, FIND], [FIND, CROP_BUTTON]])
def test_a_pending_crop_is_not_applied_to_another_picture(page: Page, clicks: list[str]) -> None:
    open_search(page)
    open_panel(page, 0)
    open_cropper(page)
    held = hold(page, "**/images/*/similar*")
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.evaluate(
        "(clicks) => clicks.map((one) => document.querySelector(one)).forEach((element) => element.click())", clicks
    )
    page.wait_for_timeout(LONGER_THAN_DEBOUNCE_MS)
    assert len(held) == 1
    held[0].continue_()
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    expect(page).to_have_url(re.compile(r"\?id=\d+$"))
    expect(page.locator(".crop-mark")).to_have_count(0)
    assert not [url for url in requested if "crop=" in url]


def test_a_crop_outside_the_picture_shows_an_error(page: Page) -> None:
    image_id = open_search(page)
    page.goto(f"/?id={image_id}&crop=0,0,90000,90000")
    expect(page.locator("#message")).to_contain_text("90000")


def test_a_picture_the_browser_cannot_decode_shows_a_hint(page: Page) -> None:
    open_start(page)
    picture = encoded(corners(64, 48), "HEIF")
    page.set_input_files("#file", {"name": "own.heic", "mimeType": "image/heic", "buffer": picture})
    expect(page.locator(".tile").first).to_be_visible()
    open_cropper(page)
    expect(page.locator("#query")).to_contain_text("This browser cannot show the picture.")
    expect(page.get_by_role("button", name="Search with a part")).to_be_hidden()


def test_touch_moves_the_crop_rectangle_and_scrolls_without_one(browser: Browser, server_url: str) -> None:
    with browser.new_context(base_url=server_url, has_touch=True, viewport={"width": 360, "height": 740}) as context:
        page = context.new_page()
        open_search(page)
        page.locator(".crop-button").tap()
        expect(page.locator(".stage")).to_have_css("touch-action", "auto")
        page.get_by_role("button", name="Search with a part").tap()
        before = crop(page)
        expect(page.locator(".stage")).to_have_css("touch-action", "none")
        frame = page.locator(".crop-rectangle").bounding_box()
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


def test_back_restores_the_crop_of_an_upload(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    drag(page, (0.1, 0.1), (0.6, 0.6))
    crop(page)
    address = page.url
    page.get_by_role("button", name="Done").click()
    search_with_tile(page, 0)
    expect(page).not_to_have_url(CROP)
    page.go_back()
    page.go_back()
    expect(page).to_have_url(address)
    expect(page.locator(".crop-mark")).to_be_visible()
