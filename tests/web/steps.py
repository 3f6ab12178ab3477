"""What people do on the page, as functions for the tests of it."""

import re

from playwright.sync_api import FilePayload, Page, Route, expect


def open_start(page: Page) -> None:
    page.goto("/")
    expect(page.locator("#heading")).to_have_text("Try one of these")


def open_search(page: Page, address: str = "") -> str:
    """Searches with the first picture of the catalogue, and gives its id; the address says what else is asked for."""
    picture_id = str(page.request.get("/images?limit=1").json()["items"][0]["id"])
    page.goto(f"/?id={picture_id}{address}")
    expect(page.locator("#query img")).to_be_visible()
    return picture_id


def catalogue_picture(page: Page) -> tuple[str, str]:
    """The id and the address of some picture of the catalogue."""
    picture = page.request.get("/images?limit=5").json()["items"][-1]
    return str(picture["id"]), picture["image_url"]


def catalogue_size(page: Page) -> int:
    """How many pictures there are; other tests may have added some."""
    return int(page.request.get("/stats").json()["images"])


def picture_file(page: Page, url: str) -> FilePayload:
    answer = page.request.get(url)
    return {"name": "given.jpg", "mimeType": answer.headers["content-type"], "buffer": answer.body()}


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


def shown_ids(page: Page) -> list[str]:
    ids: list[str] = page.locator(".tile").evaluate_all("(tiles) => tiles.map((tile) => tile.dataset.id)")
    return ids


def hold(page: Page, url: str) -> list[Route]:
    """Keeps what is asked from now on from being answered."""
    held: list[Route] = []

    def keep(route: Route) -> None:
        held.append(route)

    page.route(url, keep)
    return held


def chips(page: Page) -> list[str]:
    return page.locator(".chip").all_inner_texts()


def overhang(page: Page) -> int:
    """By how many pixels the page is too wide."""
    pixels: int = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return pixels
