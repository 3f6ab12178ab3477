"""Browsing the catalogue from the start page."""

import re

from playwright.sync_api import Page, expect

from tests.web.steps import open_start, search_with_tile, shown_ids


def test_show_more_loads_the_next_page(page: Page) -> None:
    page.goto("/?label=boot")
    expect(page.locator(".tile")).to_have_count(24)
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".tile")).to_have_count(30)
    expect(page.locator(".tile").nth(24)).to_be_focused()
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()
    assert len(set(shown_ids(page))) == 30


def test_start_page_names_a_better_model(page: Page) -> None:
    stats = page.request.get("/stats").json()
    better = {"name": "newer", "gain": "", "command": "lookalike reindex newer", "estimated_seconds": 130}
    page.route("**/stats", lambda route: route.fulfill(json=stats | {"better_model": better}))
    page.goto("/")
    note = (
        f"{stats['images']} pictures to search. The model newer finds more: lookalike reindex newer (about 2 minutes)."
    )
    expect(page.locator("#note")).to_have_text(note)


def test_back_restores_the_loaded_pages_and_the_scroll_position(page: Page) -> None:
    open_start(page)
    for count in (48, 72):
        page.get_by_role("button", name="Show more").click()
        expect(page.locator(".tile")).to_have_count(count)
    ids = shown_ids(page)
    search_with_tile(page, 60)
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Try one of these")
    assert shown_ids(page) == ids
    assert page.evaluate("scrollY") > 300


def test_a_failed_page_shows_an_error_and_can_be_retried(page: Page) -> None:
    open_start(page)
    page.route("**/images?*cursor=*", lambda route: route.abort())
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".browser").get_by_role("alert")).to_contain_text("does not respond")
    page.unroute("**/images?*cursor=*")
    page.get_by_role("button", name="Show more").click()
    expect(page.locator(".tile")).to_have_count(48)
    expect(page).to_have_url(re.compile(r"/$"))
