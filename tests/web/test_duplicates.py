"""Reviewing duplicates: groups side by side, decisions and their undo; and unrelated results, which are folded."""

import re
from io import BytesIO
from typing import Any

import httpx2
import pytest
from PIL import Image, ImageOps
from playwright.sync_api import Locator, Page, Route, expect

from tests.images import encoded
from tests.web.steps import catalogue_picture, open_search, open_start

SLOW_MS = 90_000  # the first list of duplicates compares all pictures


def add_copies(page: Page, catalogue: httpx2.Client) -> list[str]:
    """Add a larger copy of a picture of the catalogue, a smaller one and its negative; return the ids of all four."""
    original, url = catalogue_picture(page)
    image = Image.open(BytesIO(catalogue.get(url).content)).convert("RGB")
    width, height = image.size
    files = [
        ("images", encoded(image.resize((2 * width, 2 * height)), "PNG")),
        ("images", encoded(image.resize((width // 2, height // 2)), "PNG")),
        ("images", encoded(ImageOps.invert(image), "PNG")),
    ]
    metadata = '[{"key": "large", "supplier": "North"}, {"key": "small", "shelf": 7}, {"key": "negative"}]'
    items = catalogue.post("/index", data={"metadata": metadata}, files=files).raise_for_status().json()["items"]
    return [original, *(str(item["id"]) for item in items)]


@pytest.fixture
def copies(page: Page, catalogue: httpx2.Client) -> list[str]:
    return add_copies(page, catalogue)


def group_of(page: Page, image_id: str) -> Locator:
    return page.locator(".groups > li", has=page.locator(f"[data-picture='{image_id}']"))


def open_group(page: Page, image_id: str) -> Locator:
    page.goto("/?duplicates=exact")
    group = group_of(page, image_id)
    expect(group).to_be_visible(timeout=SLOW_MS)
    return group


def record(catalogue: httpx2.Client, image_id: str) -> dict[str, Any]:
    found: dict[str, Any] = catalogue.get(f"/images/{image_id}").raise_for_status().json()
    return {name: found[name] for name in ("key", "label", "metadata")}


def test_copies_and_near_duplicates_are_two_lists(page: Page, copies: list[str]) -> None:
    original, large, small, negative = copies
    open_start(page)
    page.get_by_role("link", name="Duplicates").click()
    expect(page).to_have_url(re.compile(r"\?duplicates=exact$"), timeout=SLOW_MS)
    expect(page.locator("#heading")).to_have_text("Duplicates")
    group = group_of(page, large)
    expect(group.get_by_role("heading")).to_have_text("3 pictures")
    for one in (original, small):
        expect(group.locator(f"[data-picture='{one}']")).to_be_visible()
    expect(page.locator(f"[data-picture='{negative}']")).to_have_count(0)
    page.get_by_role("link", name="Nearly the same").click()
    expect(page).to_have_url(re.compile(r"\?duplicates=near$"), timeout=SLOW_MS)
    expect(page.get_by_role("link", name="Nearly the same")).to_have_attribute("aria-current", "page")
    expect(page.locator(f"[data-picture='{large}']")).to_have_count(0)
    page.go_back()
    group.locator(f"[data-picture='{large}']").click()
    expect(page).to_have_url(re.compile(rf"\?id={large}$"))


def test_fields_are_compared_and_the_largest_picture_is_kept_by_default(page: Page, copies: list[str]) -> None:
    group = open_group(page, copies[1])
    expect(group.get_by_role("radio", checked=True)).to_have_value(copies[1])
    rows = {
        row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in group.locator("tbody tr").all()
    }
    assert rows["Size"] == ["320 × 320", "640 × 640", "160 × 160"]
    assert rows["supplier"] == ["", "North", ""]
    expect(group.locator("tr.differs", has_text="supplier")).to_have_count(1)


def test_merging_keeps_one_with_the_details_of_all_and_can_be_undone(
    page: Page, copies: list[str], catalogue: httpx2.Client
) -> None:
    original, large, small, _ = copies
    before = [record(catalogue, one) for one in copies]
    group = open_group(page, large)
    group.get_by_role("button", name="Keep one, merge details").click()
    line = page.locator(".decided")
    expect(line).to_contain_text("Kept large with all details; 2 pictures deleted.")
    merged = record(catalogue, large)
    assert merged["label"] == before[0]["label"]
    assert merged["metadata"] == before[0]["metadata"] | {"supplier": "North", "shelf": 7}
    assert [catalogue.get(f"/images/{one}").status_code for one in (original, small)] == [404, 404]
    line.get_by_role("button", name="Undo").click()
    expect(group.get_by_role("button", name="Keep one, merge details")).to_be_visible()
    assert [record(catalogue, one) for one in copies] == before


def test_another_picture_can_be_kept_and_the_rest_deleted(
    page: Page, copies: list[str], catalogue: httpx2.Client
) -> None:
    original, large, small, _ = copies
    before = [record(catalogue, one) for one in copies]
    group = open_group(page, large)
    group.locator(f"input[value='{original}']").check()
    group.get_by_role("button", name="Keep one, delete the rest").click()
    line = page.locator(".decided")
    expect(line).to_contain_text(f"Kept {before[0]['key']}; 2 pictures deleted.")
    assert record(catalogue, original) == before[0]
    assert [catalogue.get(f"/images/{one}").status_code for one in (large, small)] == [404, 404]
    line.get_by_role("button", name="Undo").click()
    expect(group.get_by_role("button", name="Keep one, delete the rest")).to_be_visible()
    assert [record(catalogue, one) for one in copies] == before


def test_pictures_that_are_not_the_same_are_remembered(page: Page, copies: list[str]) -> None:
    group = open_group(page, copies[1])
    group.get_by_role("button", name="All different").click()
    line = page.locator(".decided")
    expect(line).to_contain_text("Not the same: ")
    page.reload()
    expect(page.locator("body")).not_to_have_class(re.compile("busy"), timeout=SLOW_MS)
    expect(page.locator(f"[data-picture='{copies[1]}']")).to_have_count(0)


def test_not_the_same_can_be_undone(page: Page, copies: list[str]) -> None:
    group = open_group(page, copies[1])
    group.get_by_role("button", name="All different").click()
    page.locator(".decided").get_by_role("button", name="Undo").click()
    expect(group).to_be_visible()
    open_group(page, copies[1])


def test_a_picture_that_is_gone_is_told_and_nothing_is_deleted(
    page: Page, copies: list[str], catalogue: httpx2.Client
) -> None:
    original, large, small, _ = copies
    group = open_group(page, large)
    catalogue.delete(f"/images/{small}")
    group.get_by_role("button", name="Keep one, merge details").click()
    expect(group.get_by_role("alert")).to_contain_text(small)
    assert catalogue.get(f"/images/{original}").status_code == 200
    group.get_by_role("button", name="Keep one, delete the rest").click()
    expect(group.get_by_role("alert")).to_contain_text("no longer in the catalogue")
    assert catalogue.get(f"/images/{original}").status_code == 200


def test_a_review_by_keyboard_goes_on_to_the_next_group(page: Page, catalogue: httpx2.Client) -> None:
    large = add_copies(page, catalogue)[1]
    second = catalogue.get("/images?limit=9").json()["items"][-1]
    image = Image.open(BytesIO(catalogue.get(second["image_url"]).content)).convert("RGB")
    catalogue.post("/index", data={"metadata": '[{"key": "twin"}]'}, files={"images": encoded(image, quality=85)})
    group = open_group(page, large)
    group.get_by_role("button", name="Keep one, merge details").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".decided")).to_be_visible()
    focused = "document.activeElement.closest('.groups > li')?.textContent"
    assert "twin" in page.evaluate(focused)


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
