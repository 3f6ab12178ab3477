"""Searching on the page, with the running service and its demo catalogue."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.steps import (
    catalogue_picture,
    choose_mode,
    open_cropper,
    open_details,
    open_panel,
    open_start,
    picture_file,
    search_with_file,
    search_with_tile,
    shown_ids,
)

DROP_OR_PASTE = """
async ([event, url]) => {
  const blob = await (await fetch(url)).blob();
  const transfer = new DataTransfer();
  transfer.items.add(new File([blob], "given.jpg", { type: blob.type }));
  const init = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(
    event === "drop"
      ? new DragEvent("drop", { ...init, dataTransfer: transfer })
      : new ClipboardEvent("paste", { ...init, clipboardData: transfer }),
  );
}
"""


def test_the_start_shows_catalogue_pictures(page: Page) -> None:
    open_start(page)
    assert len(shown_ids(page)) >= 10
    page.locator(".tile img").evaluate_all("(images) => Promise.all(images.map((image) => image.decode()))")
    expect(page.locator(".tile img.missing")).to_have_count(0)
    expect(page.locator("#note")).to_have_text(re.compile(r"^[\d,]+ pictures to search$"))


def test_a_chosen_picture_finds_itself_first(page: Page) -> None:
    open_start(page)
    image_id = search_with_file(page)
    assert shown_ids(page)[0] == image_id
    expect(page.locator(".tile .band").first).to_have_text("Very similar")
    expect(page.locator("#query")).to_contain_text("given.jpg")
    open_details(page)
    expect(page.locator(".timing")).to_contain_text(re.compile(r"[\d.]+ ms for [\d,]+ pictures"))


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_can_be_dropped_and_pasted(page: Page, event: str) -> None:
    open_start(page)
    image_id, url = catalogue_picture(page)
    page.evaluate(DROP_OR_PASTE, [event, url])
    expect(page).to_have_url(re.compile(r"\?upload="))
    assert shown_ids(page)[0] == image_id


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_file_chooser_opens_from_the_keyboard(page: Page, key: str) -> None:
    page.on("filechooser", lambda _: None)  # a listener added only at the key press can miss the event
    open_start(page)
    page.get_by_role("button", name="Choose a picture").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press(key)
    assert not chooser.value.is_multiple()


def test_a_result_starts_a_search_and_back_returns(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    results, address = shown_ids(page), page.url
    image_id = search_with_tile(page, 3)
    assert image_id not in shown_ids(page)
    assert len(shown_ids(page)) == len(results) == 24
    expect(page.locator("#breadcrumbs a")).to_have_count(2)
    page.go_back()
    expect(page.locator("#panel")).to_be_visible()
    page.go_back()
    expect(page).to_have_url(address)
    expect(page.locator("#panel")).to_be_hidden()
    expect(page.locator("#query")).to_contain_text("given.jpg")
    assert shown_ids(page) == results
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_a_result_can_be_opened_with_the_keyboard(page: Page) -> None:
    open_start(page)
    page.locator(".tile").first.focus()
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Find similar").press("Enter")
    expect(page.locator("#heading")).to_have_text("Most similar first")
    expect(page.locator("#heading")).to_be_focused()


def test_a_breadcrumb_returns_to_its_search_and_truncates_the_rest(page: Page) -> None:
    open_start(page)
    first = search_with_tile(page, 0)
    search_with_tile(page, 1)
    page.locator("#breadcrumbs a").nth(1).click()
    expect(page).to_have_url(re.compile(rf"\?id={first}$"))
    expect(page.locator("#breadcrumbs a")).to_have_text(["Start"])


def test_reload_restores_a_search_by_id(page: Page) -> None:
    open_start(page)
    search_with_tile(page, 2)
    results = shown_ids(page)
    page.reload()
    expect(page.locator("#query .crop-button")).to_be_visible()
    assert shown_ids(page) == results


def test_reload_of_an_upload_shows_an_error(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    page.reload()
    expect(page.locator("#message")).to_contain_text("Choose it again.")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_the_mode_persists_in_the_url_and_in_following_searches(page: Page) -> None:
    open_start(page)
    search_with_tile(page, 0)
    choose_mode(page, "Codes only")
    expect(page).to_have_url(re.compile(r"&mode=bcs$"))
    search_with_tile(page, 0)
    expect(page.locator("#breadcrumbs a")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"&mode=bcs$"))
    expect(page.get_by_role("radio", name="Codes only")).to_be_checked()


@pytest.mark.parametrize(("name", "media_type"), [("notes.txt", "text/plain"), ("notes.png", "image/png")])
def test_an_invalid_file_shows_an_error_and_keeps_the_results(page: Page, name: str, media_type: str) -> None:
    open_start(page)
    search_with_file(page)
    results, address = shown_ids(page), page.url
    page.set_input_files("#file", {"name": name, "mimeType": media_type, "buffer": b"no picture"})
    expect(page.locator("#message")).to_have_text(re.compile(r"\w+ \w+ .*\."))
    assert (shown_ids(page), page.url) == (results, address)


def test_an_error_shows_its_detail_and_further_field_errors(page: Page) -> None:
    errors = [{"field": "image", "reason": "It is damaged."}, {"field": "k", "reason": "too large"}]
    problem = {"title": "Unusable", "detail": "It is damaged.", "errors": errors}
    page.route("**/search?*", lambda route: route.fulfill(status=422, json=problem))
    open_start(page)
    _, url = catalogue_picture(page)
    page.set_input_files("#file", picture_file(page, url))
    expect(page.locator("#message")).to_have_text("It is damaged. k: too large")


def test_an_unknown_id_falls_back_to_the_start(page: Page) -> None:
    page.goto("/?id=999999999")
    expect(page.locator("#message")).to_contain_text("999999999")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_an_unreachable_service_shows_an_error(page: Page) -> None:
    open_start(page)
    page.route("**/search*", lambda route: route.abort())
    _, url = catalogue_picture(page)
    page.set_input_files("#file", picture_file(page, url))
    expect(page.locator("#message")).to_contain_text("does not respond")
    assert len(shown_ids(page)) >= 10


def test_catalogue_text_is_never_parsed_as_html(page: Page) -> None:
    text = "<img src=x onerror=alert(1)>"
    item = {
        "id": 1,
        "key": text,
        "label": text,
        "metadata": {text: text},
        "image_url": "",
        "thumbnail_url": "",
    }
    page.route("**/images?*", lambda route: route.fulfill(json={"items": [item], "next_cursor": None}))
    page.goto("/")
    expect(page.locator(".tile .title")).to_have_text(text)
    expect(page.locator(".tile img")).to_have_count(1)
    page.route("**/images/1", lambda route: route.fulfill(json=item | {"width": 1, "height": 1, "created_at": ""}))
    page.locator(".tile").click()
    expect(page.locator("#panel dd").first).to_have_text(text)
    expect(page.locator("#panel dt").nth(1)).to_have_text(text)
    expect(page.locator("#panel img")).to_have_count(1)


@pytest.mark.parametrize("touch", [True, False])
def test_the_camera_button_is_shown_on_touch_screens_only(browser: Browser, server_url: str, touch: bool) -> None:
    with browser.new_context(base_url=server_url, has_touch=touch, is_mobile=touch) as context:
        page = context.new_page()
        open_start(page)
        expect(page.get_by_role("button", name="Take a picture")).to_be_visible(visible=touch)
        expect(page.locator("#camera")).to_have_attribute("capture", "environment")
        _, url = catalogue_picture(page)
        page.set_input_files("#camera", picture_file(page, url))
        expect(page).to_have_url(re.compile(r"\?upload="))


def test_a_change_while_loading_keeps_the_previous_history_entry(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    address = page.url
    choose_mode(page, "Exact")
    choose_mode(page, "Fast")
    expect(page).to_have_url(address)
    page.route("**/similar?*", lambda route: route.continue_() if "mode=es" in route.request.url else None)
    open_panel(page, 3)
    page.get_by_role("link", name="Find similar").click()
    page.get_by_role("radio", name="Exact").check()
    expect(page).to_have_url(re.compile(r"\?id=\d+&mode=es$"))
    page.go_back()
    expect(page).to_have_url(re.compile(re.escape(address) + "&open="))


def test_a_failed_change_resets_the_controls(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    open_details(page)
    page.route("**/search?*", lambda route: route.abort())
    page.get_by_role("radio", name="Exact").click()
    expect(page.locator("#message")).to_contain_text("does not respond")
    expect(page.get_by_role("radio", name="Fast (recommended)")).to_be_checked()
    open_cropper(page)
    page.get_by_role("button", name="Search with a part").click()
    expect(page.locator(".crop-rectangle")).to_be_visible()
    expect(page.locator(".crop-rectangle")).to_be_hidden()
    expect(page.locator("#message")).to_contain_text("does not respond")
