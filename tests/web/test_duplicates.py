"""The lists of duplicates, and unrelated results, which are folded."""

import re
from io import BytesIO

import httpx2
from PIL import Image, ImageOps
from playwright.sync_api import Page, Route, expect

from tests.images import encoded
from tests.web.steps import catalogue_picture, open_search, open_start, shown_ids


def add_duplicates(page: Page, catalogue: httpx2.Client) -> list[str]:
    """Add a copy of a picture of the catalogue and its negative; return the ids of all three."""
    original, url = catalogue_picture(page)
    image = Image.open(BytesIO(catalogue.get(url).content)).convert("RGB")
    files = [("images", encoded(image, quality=80)), ("images", encoded(ImageOps.invert(image), "PNG"))]
    response = catalogue.post("/index", data={"metadata": '[{"key": "copy"}, {"key": "negative"}]'}, files=files)
    return [original, *(str(item["id"]) for item in response.raise_for_status().json()["items"])]


def test_copies_and_near_duplicates_are_two_lists(page: Page, catalogue: httpx2.Client) -> None:
    original, copy, negative = add_duplicates(page, catalogue)
    open_start(page)
    page.get_by_role("link", name="Duplicates").click()
    expect(page.locator("#heading")).to_have_text("Duplicates")
    expect(page).to_have_url(re.compile(r"\?duplicates=exact$"))
    assert {original, copy} <= set(shown_ids(page))
    assert negative not in shown_ids(page)
    expect(page.locator("#tools")).to_be_hidden()
    page.get_by_role("link", name="Nearly the same").click()
    expect(page).to_have_url(re.compile(r"\?duplicates=near$"))
    expect(page.get_by_role("link", name="Nearly the same")).to_have_attribute("aria-current", "page")
    assert copy not in shown_ids(page)
    page.go_back()
    expect(page.locator(f".groups [data-id='{copy}']")).to_be_visible()
    page.locator(f".groups [data-id='{original}']").click()
    page.get_by_role("link", name="Find similar").click()
    expect(page).to_have_url(re.compile(rf"\?id={original}$"))


def unrelated(route: Route, related: int) -> None:
    """Set the bands of a response's matches: the first ones are similar, the others unrelated."""
    response = route.fetch()
    body = response.json()
    for index, match in enumerate(body["results"]):
        match["similarity_band"] = "similar" if index < related else "unrelated"
    route.fulfill(response=response, json=body)


def test_unrelated_results_are_folded(page: Page) -> None:
    page.route("**/similar?*", lambda route: unrelated(route, 5))
    open_search(page)
    expect(page.locator(".tile").nth(3)).to_be_visible()
    expect(page.locator(".tile").nth(4)).to_be_hidden()
    page.get_by_text("Less similar (20)").click()
    expect(page.locator(".tile").nth(4)).to_be_visible()


def test_results_are_shown_if_all_are_unrelated(page: Page) -> None:
    page.route("**/similar?*", lambda route: unrelated(route, 1))
    open_search(page)
    expect(page.locator(".tile").first).to_be_visible()
