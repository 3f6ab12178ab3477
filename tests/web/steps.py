"""Helpers for browser tests: open the page, search, and read what it shows."""

import re

from playwright.sync_api import FilePayload, Page, Route, expect


def open_start(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def open_search(page: Page, parameters: str = "") -> str:
    """Search with the first picture of the catalogue and return its id.

    `parameters` is appended to the URL's query string.
    """
    image_id = str(page.request.get("/images?limit=1").json()["items"][0]["id"])
    page.goto(f"/?id={image_id}{parameters}")
    expect(page.locator("#query .crop-button")).to_be_visible()
    return image_id


def catalogue_picture(page: Page) -> tuple[str, str]:
    """Return the id and the URL of a catalogue picture."""
    picture = page.request.get("/images?limit=5").json()["items"][-1]
    return str(picture["id"]), picture["image_url"]


def catalogue_size(page: Page) -> int:
    """Return the number of pictures, including those that other tests have added."""
    return int(page.request.get("/stats").json()["images"])


def picture_file(page: Page, url: str) -> FilePayload:
    response = page.request.get(url)
    return {"name": "given.jpg", "mimeType": response.headers["content-type"], "buffer": response.body()}


def search_with_file(page: Page) -> str:
    """Upload a catalogue picture through the file input and return its id."""
    image_id, url = catalogue_picture(page)
    page.set_input_files("#file", picture_file(page, url))
    expect(page).to_have_url(re.compile(r"\?upload="))
    return image_id


def open_panel(page: Page, position: int) -> str:
    """Click a tile, wait for its panel, and return the id of its picture."""
    tile = page.locator(".tile").nth(position)
    image_id = str(tile.get_attribute("data-id"))
    tile.click()
    expect(page.locator("#panel .field-table")).to_be_visible()
    return image_id


def search_with_tile(page: Page, position: int) -> str:
    """Search with a tile's picture by its panel and return its id."""
    image_id = open_panel(page, position)
    page.get_by_role("link", name="Find similar").click()
    expect(page).to_have_url(re.compile(rf"\?id={image_id}(&|$)"))
    expect(page.locator("#query .crop-button")).to_be_visible()
    expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    return image_id


def open_details(page: Page) -> None:
    page.get_by_role("button", name="Details", exact=True).click()
    expect(page.get_by_role("slider", name="Results")).to_be_visible()


def choose_mode(page: Page, name: str) -> None:
    """Choose a search mode, under the details."""
    if not page.locator("#details").is_visible():
        open_details(page)
    page.get_by_role("radio", name=name).check()


def open_cropper(page: Page) -> None:
    page.locator(".crop-button").click()
    expect(page.locator(".stage")).to_be_visible()


def shown_ids(page: Page) -> list[str]:
    ids: list[str] = page.locator(".tile").evaluate_all("(tiles) => tiles.map((tile) => tile.dataset.id)")
    return ids


def hold(page: Page, url: str) -> list[Route]:
    """Hold back all further requests that match the URL."""
    held: list[Route] = []

    def collect(route: Route) -> None:
        held.append(route)

    page.route(url, collect)
    return held


def chips(page: Page) -> list[str]:
    return page.locator(".chip").all_inner_texts()


def horizontal_overflow(page: Page) -> int:
    """Return by how many pixels the page is wider than the window."""
    pixels: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return pixels
