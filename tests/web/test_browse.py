"""Browsing the catalogue: the virtual grid, sort orders, label chips."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.web.conftest import AddPicture
from tests.web.steps import open_start, shown_ids

MANY = 100_000
POSITIONS = "(items) => items.map((item) => Number(item.getAttribute('aria-posinset')))"
# Scrolls by 4,000 pixels; returns the sum of the layout shifts, and the most list items that were in the document.
SCROLL = """async () => {
    const shifts = [];
    const observer = new PerformanceObserver((list) => shifts.push(...list.getEntries().map(({ value }) => value)));
    observer.observe({ type: "layout-shift", buffered: true });
    let most = 0;
    for (let step = 0; step < 40; step += 1) {
        scrollBy(0, 100);
        await new Promise(requestAnimationFrame);
        most = Math.max(most, document.querySelectorAll("[aria-posinset]").length);
    }
    return { shift: shifts.reduce((sum, value) => sum + value, 0), most };
}"""


def positions(page: Page) -> list[int]:
    """Return the positions of the pictures in the document, from 1."""
    found: list[int] = page.locator("[aria-posinset]:has(.tile)").evaluate_all(POSITIONS)
    return found


def labels(page: Page) -> list[str]:
    """Return the labels of the pictures that are shown, as the service knows them."""
    ids = shown_ids(page)
    return [page.request.get(f"/images/{image_id}").json()["label"] for image_id in ids]


def serve_many(page: Page) -> None:
    """Answer lists of pictures as if the catalogue had 100,000 of them."""
    first = page.request.get("/images?limit=1").json()["items"][0]

    def fulfil(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        start, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        end = min(start + limit, MANY)
        items = [first | {"key": f"key {number}"} for number in range(start, end)]
        cursor = str(end) if end < MANY else None
        route.fulfill(json={"items": items, "total": None if start else MANY, "next_cursor": cursor, "warnings": []})

    page.route("**/images?*", fulfil)


def test_all_pictures_are_reached_by_scrolling(page: Page) -> None:
    open_start(page)
    total = page.request.get("/stats").json()["images"]
    seen: set[int] = set()
    while True:
        seen.update(positions(page))
        before = page.evaluate("scrollY")
        page.mouse.wheel(0, 1500)
        page.wait_for_timeout(150)
        expect(page.locator(".placeholder")).to_have_count(0)
        if page.evaluate("scrollY") == before:
            break
    assert sorted(seen) == list(range(1, total + 1))
    expect(page.locator("[aria-posinset]").first).to_have_attribute("aria-setsize", str(total))


def test_only_rows_near_the_viewport_are_in_the_document(page: Page) -> None:
    serve_many(page)
    open_start(page)
    scrolled = page.evaluate(SCROLL)
    assert scrolled["most"] < 120
    assert scrolled["shift"] < 0.05
    assert page.evaluate("document.documentElement.scrollHeight") > 1_000_000
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(page.locator(f"[aria-posinset='{MANY}'] .tile")).to_be_visible(timeout=60_000)
    expect(page.locator(".placeholder")).to_have_count(0)
    assert page.locator("[aria-posinset]").count() < 120


def test_back_restores_the_scroll_position_at_once(page: Page) -> None:
    serve_many(page)
    open_start(page)
    page.evaluate("scrollTo(0, 30000)")
    expect(page.locator(".placeholder")).to_have_count(0)
    scroll, shown = page.evaluate("scrollY"), positions(page)
    page.evaluate("document.querySelector('a[href*=trash]').click()")  # without scrolling to the link
    expect(page).to_have_url(re.compile("trash"))
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Try one of these")
    assert page.evaluate("scrollY") == scroll
    expect(page.locator(".placeholder")).to_have_count(0)
    assert positions(page) == shown


def test_another_width_keeps_the_pictures_that_are_seen(page: Page) -> None:
    serve_many(page)
    open_start(page)
    page.evaluate("scrollTo(0, 20000)")
    expect(page.locator(".placeholder")).to_have_count(0)
    middle = positions(page)[len(positions(page)) // 2]
    page.set_viewport_size({"width": 700, "height": 800})
    expect(page.locator(f"[aria-posinset='{middle}'] .tile")).to_be_attached()
    assert page.evaluate("scrollY") > 20000  # fewer columns


def test_tab_and_arrows_reach_rows_below(page: Page) -> None:
    serve_many(page)
    open_start(page)
    page.locator("[aria-posinset='1'] .tile").focus()
    for _ in range(30):
        page.keyboard.press("ArrowDown")
    position = "Number(document.activeElement.parentElement.getAttribute('aria-posinset'))"
    row = page.evaluate(position)
    assert row > 60
    page.keyboard.press("Tab")
    assert page.evaluate(position) == row + 1


def test_a_focused_picture_stays_while_it_is_scrolled_away(page: Page) -> None:
    serve_many(page)
    open_start(page)
    page.locator("[aria-posinset='2'] .tile").focus()
    page.evaluate("scrollTo(0, 50000)")
    expect(page.locator("[aria-posinset='2']")).to_have_count(1)
    expect(page.locator("[aria-posinset='2'] .tile")).to_be_focused()
    expect(page.locator("[aria-posinset='12']")).to_have_count(0)


def test_a_failed_page_shows_an_error_and_can_be_retried(page: Page) -> None:
    open_start(page)
    page.route("**/images?*cursor=*", lambda route: route.abort())
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    error = page.locator("picture-grid .error")
    expect(error).to_contain_text("does not respond")
    page.unroute("**/images?*cursor=*")
    error.get_by_role("button", name="Try again").click()
    expect(error).to_be_empty()
    expect(page.locator(".placeholder")).to_have_count(0)
    expect(page.locator(".tile").last).to_be_visible()


@pytest.mark.parametrize(
    ("choice", "sort"), [("Newest first", "-added"), ("Key", "key"), ("price", "price"), ("Oldest first", "added")]
)
def test_sort_orders(page: Page, choice: str, sort: str) -> None:
    open_start(page)
    expect(page.get_by_label("Sort", exact=True).locator("option", has_text="price")).to_have_count(1)
    page.get_by_label("Sort", exact=True).select_option(label=choice)
    expect(page).to_have_url(re.compile(rf"\?sort={sort}$"))
    wanted = [str(one["id"]) for one in page.request.get(f"/images?sort={sort}&limit=6").json()["items"]]
    expect(page.locator(".tile").first).to_have_attribute("data-id", wanted[0])
    assert shown_ids(page)[:6] == wanted
    page.reload()
    expect(page.locator(".tile").first).to_have_attribute("data-id", wanted[0])
    expect(page.get_by_label("Sort", exact=True)).to_have_value(sort)


def test_a_field_can_be_sorted_in_both_directions(page: Page) -> None:
    page.goto("/?sort=price")
    page.get_by_role("button", name="Sort descending").click()
    expect(page).to_have_url(re.compile(r"\?sort=-price$"))
    first = page.request.get("/images?sort=-price&limit=1").json()["items"][0]
    expect(page.locator(".tile").first).to_have_attribute("data-id", str(first["id"]))
    page.get_by_role("button", name="Sort ascending").click()
    expect(page).to_have_url(re.compile(r"\?sort=price$"))


def test_a_search_from_a_sorted_list_is_not_sorted(page: Page) -> None:
    page.goto("/?sort=price")
    assert "sort" not in str(page.locator(".tile").first.get_attribute("href"))


def test_the_first_page_mixes_labels(page: Page) -> None:
    open_start(page)
    assert len(set(labels(page)[:12])) > 3


def test_label_chips_have_counts_and_filter(page: Page) -> None:
    open_start(page)
    chip = page.get_by_role("navigation", name="Labels").get_by_role("link", name="boot 30")
    chip.click()
    expect(page).to_have_url(re.compile(r"\?label=boot$"))
    expect(page.locator("#heading")).to_have_text("30 pictures match")
    assert set(labels(page)) == {"boot"}
    active = page.get_by_role("navigation", name="Labels").get_by_role("link").first
    expect(active).to_have_text("boot 30")
    expect(active).to_have_attribute("aria-current", "true")
    active.click()
    expect(page.locator("#heading")).to_have_text("Try one of these")


def test_words_filter_the_list(page: Page, add_picture: AddPicture) -> None:
    image_id = add_picture(key="own-words", note="an unheard of zeppelin")
    page.goto("/?text=zeppelin")
    expect(page.locator("#heading")).to_have_text("1 picture matches")
    assert shown_ids(page) == [image_id]


def test_conditions_of_the_filter_apply_to_the_counts_of_labels(page: Page) -> None:
    page.goto(f"/?filter={json.dumps({'label': {'$in': ['boot', 'mug']}})}")
    expect(page.get_by_role("navigation", name="Labels").get_by_role("link")).to_have_count(2)


def test_start_page_names_a_better_model(page: Page) -> None:
    stats = page.request.get("/stats").json()
    better = {"name": "newer", "gain": "", "command": "lookalike reindex newer", "estimated_seconds": 130}
    page.route("**/stats", lambda route: route.fulfill(json=stats | {"better_model": better}))
    page.goto("/")
    note = (
        f"{stats['images']} pictures to search. The model newer finds more: lookalike reindex newer (about 2 minutes)."
    )
    expect(page.locator("#note")).to_have_text(note)
