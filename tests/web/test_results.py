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


@pytest.mark.parametrize(("viewport", "rows", "tiles"), [(LAPTOP, 2, 10), (PHONE, 1, 2)])
def test_results_are_seen_without_scrolling_and_the_query_stays(
    browser: Browser, server_url: str, viewport: ViewportSize, rows: int, tiles: int
) -> None:
    with browser.new_context(base_url=server_url, viewport=viewport) as context:
        page = context.new_page()
        open_start(page)
        search_with_tile(page, 0)
        tops = page.locator(".tile").evaluate_all(FULLY_VISIBLE)
        assert len(set(tops)) >= rows
        assert len(tops) >= tiles
        expect(page.locator("#details")).to_be_hidden()
        page.evaluate("scrollTo(0, 500)")
        strip = page.locator("#query").bounding_box()
        assert strip
        assert strip["y"] == 0
        assert strip["height"] <= 72


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE])
def test_layout_hardly_shifts(browser: Browser, server_url: str, viewport: ViewportSize) -> None:
    with browser.new_context(base_url=server_url, viewport=viewport) as context:
        page = context.new_page()
        page.add_init_script(OBSERVE_SHIFTS)
        image_id = open_search(page)
        for address in ("/", f"/?id={image_id}", f"/?id={image_id}&open={image_id}"):
            page.goto(address)
            expect(page.locator(".tile").first).to_be_visible()
            expect(page.locator("body")).not_to_have_class(re.compile("busy"))
            page.locator(".tile img").evaluate_all(
                "(images) => Promise.all(images.slice(0, 6).map((one) => one.decode()))"
            )
            page.wait_for_timeout(300)
            assert page.evaluate("window.shifts") < 0.05, address


def bands(route: Route, names: list[str]) -> None:
    """Set the bands of a response's matches; the last name goes to all others."""
    response = route.fetch()
    body = response.json()
    for index, match in enumerate(body["results"]):
        match["similarity_band"] = names[min(index, len(names) - 1)]
    route.fulfill(response=response, json=body)


def test_similarity_is_in_words_and_unrelated_results_are_folded(page: Page) -> None:
    names = ["very similar", "very similar", "similar", "loosely related", "unrelated"]
    page.route("**/similar?*", lambda route: bands(route, names))
    open_search(page)
    expect(page.locator(".band")).to_have_text(["Very similar", "Similar", "Loosely related"])
    assert "%" not in page.locator("#results").inner_text()
    expect(page.locator(".tile").nth(3)).to_be_hidden()
    page.get_by_text("Less similar (21)").click()
    expect(page.locator(".tile").nth(3)).to_be_visible()


def caption(page: Page, image_id: str) -> tuple[str, str]:
    tile = page.locator(f".tile[data-id='{image_id}']")
    return tile.locator(".title").inner_text(), tile.locator(".line").inner_text()


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"key": "own", "label": "boot", "Name": "Chelsea", "price": 5}, ("Chelsea", "5.00 · boot")),
        ({"key": "own", "label": "boot", "cost": "19.9", "currency": "gbp"}, ("boot", "£19.90")),
        ({"key": "shop/boots/1.png", "colour": "red", "n": 7, "link": "https://a.example/"}, ("1.png", "red")),
        ({"key": "a" * 64, "file": "mine/photo.jpg"}, ("photo.jpg", "")),
        ({"key": "a" * 64, "price": "on request"}, ("Picture {id}", "on request")),
    ],
)
def test_captions_have_a_name_and_a_price(
    page: Page, add_picture: AddPicture, metadata: dict[str, Any], expected: tuple[str, str]
) -> None:
    image_id = add_picture(**metadata)
    page.goto(f"/?filter={json.dumps({'key': metadata['key']})}")
    title, line = caption(page, image_id)
    assert title == expected[0].format(id=image_id)
    assert line == expected[1]


def test_the_browser_remembers_the_chosen_captions(page: Page) -> None:
    open_start(page)
    page.get_by_role("button", name="Captions").click()
    page.get_by_label("Title").select_option("pattern")
    page.get_by_label("Line below").select_option("Nothing")
    ids = shown_ids(page)
    patterns = [page.request.get(f"/images/{image_id}").json()["metadata"]["pattern"] for image_id in ids]
    assert page.locator(".tile .title").all_inner_texts() == patterns
    page.reload()
    expect(page.locator(".tile .title")).to_have_text(patterns)
    assert "".join(page.locator(".tile .line").all_inner_texts()) == ""


def test_the_picture_and_empty_tiles_are_shown_at_once(page: Page) -> None:
    open_start(page)
    held = hold(page, "**/search?*")
    _, url = catalogue_picture(page)
    page.set_input_files("#file", picture_file(page, url))
    expect(page.locator("#query img")).to_be_visible()
    expect(page.locator("#query")).to_contain_text("Your picture")
    expect(page.locator("#skeleton > div").first).to_be_visible()
    expect(page.locator("#pictures")).to_be_hidden()
    held[0].abort()
    expect(page.locator("#message")).to_contain_text("does not respond")
    expect(page.locator("#skeleton")).to_be_hidden()
    expect(page.locator("#query")).to_be_hidden()
    expect(page.locator(".tile").first).to_be_visible()


def test_a_large_upload_is_shrunk_upright_before_it_is_sent(page: Page) -> None:
    open_start(page)
    page.evaluate(
        """() => { const sent = window.fetch; window.fetch = (url, init) => {
          if (init?.body instanceof FormData) window.image = init.body.get("image");
          return sent(url, init); } }"""
    )
    content = encoded(gradient(3000, 1500), "JPEG", 6)
    page.set_input_files("#file", {"name": "big.jpg", "mimeType": "image/jpeg", "buffer": content})
    expect(page.locator("#query")).to_contain_text("big.jpg")
    expect(page.locator(".crop-button")).to_be_visible()
    size = "createImageBitmap(window.image).then(({ width, height }) => [width, height, window.image.type])"
    assert page.evaluate(size) == [1024, 512, "image/jpeg"]
    page.set_input_files("#file", {"name": "small.png", "mimeType": "image/png", "buffer": encoded(gradient(), "PNG")})
    expect(page.locator("#query")).to_contain_text("small.png")
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    assert page.evaluate("window.image.name") == "small.png"
    page.set_input_files("#file", {"name": "cut.jpg", "mimeType": "image/jpeg", "buffer": content[: len(content) // 2]})
    expect(page.locator("#message")).not_to_be_empty()
    assert page.evaluate("window.image.size") == len(content) // 2
