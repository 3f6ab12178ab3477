"""The page at `/`, in a real browser against the running service and its demo catalogue."""

import re
from typing import Literal

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

STRICT_POLICY = "default-src 'self'; img-src 'self' blob: data:"

HAND_OVER = """
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

RED_OF_PAGE = r"Number(getComputedStyle(document.body).backgroundColor.match(/\d+/)[0])"


def catalogue_picture(page: Page) -> tuple[str, str]:
    """The id and the address of some picture of the catalogue."""
    picture = page.request.get("/images?limit=5").json()["items"][-1]
    return str(picture["id"]), picture["image_url"]


def picture_file(page: Page, url: str) -> FilePayload:
    answer = page.request.get(url)
    return {"name": "given.jpg", "mimeType": answer.headers["content-type"], "buffer": answer.body()}


def shown_ids(page: Page) -> list[str]:
    ids: list[str] = page.locator(".tile").evaluate_all("(tiles) => tiles.map((tile) => tile.dataset.id)")
    return ids


def open_start(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def search_with_file(page: Page) -> str:
    """Chooses a picture of the catalogue as a file and gives its id."""
    picture_id, url = catalogue_picture(page)
    page.set_input_files("#file", picture_file(page, url))
    expect(page).to_have_url(re.compile(r"\?upload="))
    return picture_id


def search_with_tile(page: Page, position: int) -> str:
    """Clicks on a tile and gives the id of its picture."""
    tile = page.locator(".tile").nth(position)
    picture_id = str(tile.get_attribute("data-id"))
    tile.click()
    expect(page).to_have_url(re.compile(rf"\?id={picture_id}$"))
    return picture_id


def test_first_visit_offers_pictures_of_the_catalogue(page: Page) -> None:
    open_start(page)
    assert len(shown_ids(page)) == 24
    page.locator(".tile img").evaluate_all("(images) => Promise.all(images.map((image) => image.decode()))")
    expect(page.locator(".tile img.missing")).to_have_count(0)
    expect(page.locator("#note")).to_have_text(re.compile(r"^[\d,]+ pictures to search$"))


def test_a_chosen_picture_finds_itself_first(page: Page) -> None:
    open_start(page)
    picture_id = search_with_file(page)
    assert shown_ids(page)[0] == picture_id
    expect(page.locator(".tile").first).to_contain_text("distance 0.00")
    expect(page.locator("#query")).to_contain_text("given.jpg")
    expect(page.locator(".timing")).to_contain_text(re.compile(r"[\d.]+ ms over [\d,]+ pictures"))


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_can_be_dropped_and_pasted(page: Page, event: str) -> None:
    open_start(page)
    picture_id, url = catalogue_picture(page)
    page.evaluate(HAND_OVER, [event, url])
    expect(page).to_have_url(re.compile(r"\?upload="))
    assert shown_ids(page)[0] == picture_id


@pytest.mark.parametrize("key", ["Enter", "Space"])
def test_the_file_chooser_opens_from_the_keyboard(page: Page, key: str) -> None:
    page.on("filechooser", lambda _: None)  # listening begins late: begun at the key press, it can miss it
    open_start(page)
    page.get_by_role("button", name="Choose a picture").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press(key)
    assert not chooser.value.is_multiple()


def test_a_result_searches_on_and_back_returns(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    results, address = shown_ids(page), page.url
    picture_id = search_with_tile(page, 3)
    assert picture_id not in shown_ids(page)
    assert len(shown_ids(page)) == len(results) == 24
    expect(page.locator("#trail a")).to_have_count(2)
    page.go_back()
    expect(page).to_have_url(address)
    expect(page.locator("#query")).to_contain_text("given.jpg")
    assert shown_ids(page) == results
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_a_result_can_be_opened_with_the_keyboard(page: Page) -> None:
    open_start(page)
    page.locator(".tile").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("Most alike first")
    expect(page.locator("#heading")).to_be_focused()


def test_the_trail_leads_back_and_is_cut_there(page: Page) -> None:
    open_start(page)
    first = search_with_tile(page, 0)
    search_with_tile(page, 1)
    page.locator("#trail a").nth(1).click()
    expect(page).to_have_url(re.compile(rf"\?id={first}$"))
    expect(page.locator("#trail a")).to_have_text(["Start"])


def test_loading_again_restores_a_search_of_the_catalogue(page: Page) -> None:
    open_start(page)
    search_with_tile(page, 2)
    results = shown_ids(page)
    page.reload()
    expect(page.locator("#query img")).to_be_visible()
    assert shown_ids(page) == results


def test_loading_again_says_that_an_upload_is_gone(page: Page) -> None:
    open_start(page)
    search_with_file(page)
    page.reload()
    expect(page.locator("#message")).to_contain_text("Please choose it again.")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_the_mode_is_kept_in_the_address_and_on_the_way(page: Page) -> None:
    open_start(page)
    search_with_tile(page, 0)
    page.get_by_role("radio", name="Codes only").check()
    expect(page).to_have_url(re.compile(r"&mode=bcs$"))
    page.locator(".tile").first.click()
    expect(page.locator("#trail a")).to_have_count(2)
    expect(page).to_have_url(re.compile(r"&mode=bcs$"))
    expect(page.get_by_role("radio", name="Codes only")).to_be_checked()
    expect(page.locator(".numbers").first).to_have_text(re.compile(r"^\d+ bits?$"))


@pytest.mark.parametrize(("name", "media_type"), [("notes.txt", "text/plain"), ("notes.png", "image/png")])
def test_what_is_no_picture_costs_a_sentence_and_no_results(page: Page, name: str, media_type: str) -> None:
    open_start(page)
    search_with_file(page)
    results, address = shown_ids(page), page.url
    page.set_input_files("#file", {"name": name, "mimeType": media_type, "buffer": b"no picture"})
    expect(page.locator("#message")).to_have_text(re.compile(r"\w+ \w+ .*\."))
    assert (shown_ids(page), page.url) == (results, address)


def test_a_problem_is_told_once_with_the_reasons_that_it_leaves_out(page: Page) -> None:
    errors = [{"field": "image", "reason": "It is damaged."}, {"field": "k", "reason": "too large"}]
    problem = {"title": "Unusable", "detail": "It is damaged.", "errors": errors}
    page.route("**/search?*", lambda route: route.fulfill(status=422, json=problem))
    open_start(page)
    _, url = catalogue_picture(page)
    page.set_input_files("#file", picture_file(page, url))
    expect(page.locator("#message")).to_have_text("It is damaged. k: too large")


def test_a_picture_that_does_not_exist_falls_back_to_the_start(page: Page) -> None:
    page.goto("/?id=999999999")
    expect(page.locator("#message")).to_contain_text("999999999")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_a_service_that_is_gone_is_told_in_a_sentence(page: Page) -> None:
    open_start(page)
    page.route("**/search*", lambda route: route.abort())
    _, url = catalogue_picture(page)
    page.set_input_files("#file", picture_file(page, url))
    expect(page.locator("#message")).to_contain_text("does not answer")
    assert len(shown_ids(page)) == 24


def test_an_empty_catalogue_says_how_to_fill_it(page: Page, server_url: str) -> None:
    page.route("**/images?*", lambda route: route.fulfill(json={"items": [], "next_cursor": None}))
    page.goto("/")
    expect(page.locator("#heading")).to_have_text("The catalogue is empty")
    expect(page.locator("pre")).to_contain_text(f"{server_url.rstrip('/')}/index")


def test_text_of_the_catalogue_is_never_markup(page: Page) -> None:
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
    expect(page.locator(".tile span")).to_have_text([text, text, f"{text}: {text}"])
    expect(page.locator(".tile img")).to_have_count(1)


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
    assert start + overhangs(page) == [0] * 6


def overhangs(page: Page) -> list[int]:
    """By how many pixels the page is too wide, on a phone, a tablet and a desk."""
    found: list[int] = []
    for width, height in [(360, 740), (820, 1180), (1920, 1080)]:
        page.set_viewport_size({"width": width, "height": height})
        found.append(page.evaluate("document.documentElement.scrollWidth - innerWidth"))
    return found


def test_a_strict_policy_holds_and_nothing_leaves_the_origin(page: Page, server_url: str) -> None:
    complaints: list[str] = []
    addresses: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(error.message))
    page.on("request", lambda request: addresses.append(request.url))
    page.route(re.compile(r"/$"), with_strict_policy)
    open_start(page)
    search_with_file(page)
    search_with_tile(page, 1)
    page.get_by_role("radio", name="Exact").check()
    expect(page).to_have_url(re.compile(r"&mode=es$"))
    page.go_back()
    expect(page.locator("#query")).to_contain_text("given.jpg")
    assert complaints == []
    own = (server_url.rstrip("/") + "/", f"blob:{server_url.rstrip('/')}/")
    assert [address for address in addresses if not address.startswith(own)] == []


def with_strict_policy(route: Route) -> None:
    response = route.fetch()
    route.fulfill(response=response, headers={**response.headers, "content-security-policy": STRICT_POLICY})
