"""Filters on the page: choosing values and ranges, chips, and the URL."""

import json
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from tests.web.conftest import AddPicture
from tests.web.steps import chips, hold, open_search, open_start, search_with_tile, shown_ids


def open_filters(page: Page) -> None:
    """Wait for the filters, which have a column of their own on wide screens."""
    expect(page.locator("#filters fieldset").first).to_be_visible()


def field(page: Page, name: str) -> Locator:
    return page.locator("#filters").get_by_role("group", name=name, exact=True)


def choose(page: Page, name: str, value: str) -> None:
    field(page, name).get_by_role("checkbox", name=re.compile(rf"^{value} ")).check()
    expect(page.locator(".chip").filter(has_text=f"{name}: {value}")).to_be_visible()


def filter_in_url(page: Page) -> dict[str, object]:
    """Return the filter in the URL."""
    values = parse_qs(urlsplit(page.url).query).get("filter")
    return json.loads(values[0]) if values else {}


def patterns(page: Page) -> set[str]:
    ids = shown_ids(page)
    return {page.request.get(f"/images/{image_id}").json()["metadata"]["pattern"] for image_id in ids}


def labels(page: Page) -> set[str]:
    return set(page.locator(".tile .title").all_inner_texts())


def match_count(page: Page, label: str) -> str:
    return f"{page.request.get(f'/images?label={label}').json()['total']} pictures match"


def test_a_label_filter_applies_to_the_start_and_to_following_searches(page: Page) -> None:
    open_start(page)
    open_filters(page)
    choose(page, "label", "boot")
    expect(page.locator("#heading")).to_have_text(match_count(page, "boot"))
    assert labels(page) == {"boot"}
    assert page.url.endswith("/?label=boot")
    search_with_tile(page, 0)
    expect(page.locator("#heading")).to_have_text("Most similar first")
    assert labels(page) == {"boot"}
    search_with_tile(page, 0)
    expect(page.locator("#breadcrumbs a")).to_have_count(2)
    assert (labels(page), chips(page)) == ({"boot"}, ["label: boot"])


def test_counts_ignore_the_condition_of_their_own_field(page: Page) -> None:
    open_start(page)
    open_filters(page)
    expect(field(page, "label")).to_contain_text(re.compile(r"boot\s*30"))
    choose(page, "label", "boot")
    expect(field(page, "label")).to_contain_text(re.compile(r"hat\s*30"))
    patterns_of_boots = next(
        found["values"]
        for found in page.request.get("/facets?label=boot").json()["fields"]
        if found["name"] == "pattern"
    )
    counts = [value["count"] for value in patterns_of_boots]
    assert sum(counts) == 30
    expect(field(page, "pattern").locator(".count")).to_have_text([str(count) for count in counts])


def test_values_of_a_field_are_ored_and_fields_are_anded(page: Page) -> None:
    open_search(page)
    open_filters(page)
    choose(page, "label", "boot")
    choose(page, "label", "hat")
    expect(page).to_have_url(re.compile("filter="))
    assert filter_in_url(page) == {"label": {"$in": ["boot", "hat"]}}
    choose(page, "pattern", "plain")
    assert labels(page) <= {"boot", "hat"}
    assert patterns(page) == {"plain"}


def test_numbers_are_filtered_by_range(page: Page) -> None:
    open_search(page)
    open_filters(page)
    field(page, "price").get_by_label("from").fill("20")
    page.keyboard.press("Tab")
    expect(page.locator(".chip")).to_have_text("price: from 20")
    field(page, "price").get_by_label("to").fill("30.5")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text("price: 20 to 30.5")
    assert filter_in_url(page) == {"price": {"$gte": 20, "$lte": 30.5}}
    ids = shown_ids(page)
    prices = [page.request.get(f"/images/{image_id}").json()["metadata"]["price"] for image_id in ids]
    assert prices
    assert all(20 <= price <= 30.5 for price in prices)


def test_whole_numbers_beyond_a_double_reach_the_api_unchanged(page: Page, add_picture: AddPicture) -> None:
    add_picture(key="even", serial=9007199254740992)
    odd = add_picture(key="odd", serial=9007199254740993)
    open_search(page)
    open_filters(page)
    range_ = field(page, "serial")
    expect(range_.get_by_label("to")).to_have_attribute("placeholder", "9007199254740993")
    range_.get_by_label("from").fill("9007199254740993")
    page.keyboard.press("Tab")
    expect(page.locator(".chip")).to_have_text("serial: from 9007199254740993")
    expect(page.locator(".tile")).to_have_count(1)
    assert shown_ids(page) == [odd]
    assert filter_in_url(page) == {"serial": {"$gte": 9007199254740993}}
    open_search(page, '&filter={"serial": 9007199254740993}')
    expect(page.locator(".chip")).to_have_text("serial: 9007199254740993")
    assert shown_ids(page) == [odd]


def test_an_empty_range_shows_an_error(page: Page) -> None:
    open_search(page)
    open_filters(page)
    results = shown_ids(page)
    field(page, "price").get_by_label("from").fill("30")
    field(page, "price").get_by_label("to").fill("20")
    page.keyboard.press("Tab")
    expect(field(page, "price").get_by_role("alert")).to_have_text(
        "The minimum 30 is above the maximum 20. Lower the minimum or raise the maximum."
    )
    assert len(shown_ids(page)) == len(results)


def test_chips_can_be_removed_one_by_one_and_all_at_once(page: Page) -> None:
    parameters = "&label=boot&filter=" + json.dumps({"pattern": {"$in": ["plain", "dots"]}, "price": {"$lte": 100}})
    open_search(page, parameters)
    expect(page.locator(".chip")).to_have_text(["label: boot", "pattern: plain", "pattern: dots", "price: up to 100"])
    page.get_by_role("button", name="Remove pattern: plain").click()
    expect(page.locator(".chip")).to_have_text(["label: boot", "pattern: dots", "price: up to 100"])
    expect(page.get_by_role("button", name="Remove pattern: dots")).to_be_focused()
    page.get_by_role("button", name="Clear filters").click()
    expect(page.locator(".chip")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"\?id=\d+$"))


def test_a_hand_written_filter_is_preserved_and_can_be_removed(page: Page) -> None:
    open_search(page, "&filter=" + json.dumps({"$or": [{"pattern": "dots"}, {"price": {"$gt": 90}}]}))
    assert chips(page) == ['$or: [{"pattern":"dots"},{"price":{"$gt":90}}]']
    few = len(shown_ids(page))
    page.locator(".chip").click()
    expect(page.locator(".chip")).to_have_count(0)
    assert 0 < few <= len(shown_ids(page))


@pytest.mark.parametrize("filter_", ["{", '{"price": {"$around": 3}}', "[1]"])
def test_an_invalid_filter_shows_an_error_and_is_dropped(page: Page, filter_: str) -> None:
    page.goto(f"/?filter={filter_}")
    expect(page.locator("#message")).to_contain_text("filter")
    expect(page.locator(".tile").first).to_be_visible()


def test_an_empty_result_shows_warnings_about_the_filters(page: Page) -> None:
    open_search(page, '&filter={"colur": "red"}')
    expect(page.locator("#heading")).to_have_text("No pictures found")
    expect(page.locator("#warnings")).to_have_text("No image has the field 'colur'.")
    page.locator(".chip").click()
    expect(page.locator(".tile").first).to_be_visible()
    expect(page.locator("#warnings")).to_be_empty()
    page.goto("/?label=unknown")
    expect(page.locator("#heading")).to_have_text("No pictures match")
    expect(page.locator("#warnings")).to_have_text("No image has the label 'unknown'.")


def test_choosing_a_value_keeps_the_focus(page: Page) -> None:
    open_search(page)
    open_filters(page)
    box = field(page, "pattern").get_by_role("checkbox").nth(1)
    box.focus()
    page.keyboard.press("Space")
    expect(page.locator(".chip")).to_have_count(1)
    expect(box).to_be_focused()
    expect(box).to_be_checked()


def test_a_choice_can_be_undone_while_counts_are_loading(page: Page) -> None:
    open_start(page)
    open_filters(page)
    hold(page, "**/facets*")
    box = field(page, "label").get_by_role("checkbox", name=re.compile("^boot "))
    box.check()
    expect(page.locator(".chip")).to_have_text("label: boot")
    box.uncheck()
    expect(page.locator(".chip")).to_have_count(0)
    expect(page.locator("#heading")).to_have_text("Try one of these")
    assert page.url.endswith("/")


def test_selected_text_stays_selected_when_counts_arrive(page: Page) -> None:
    open_search(page)
    open_filters(page)
    price = field(page, "price")
    held = hold(page, "**/facets*")
    with page.expect_request("**/facets*"):
        price.get_by_label("from").fill("20")
        page.keyboard.press("Tab")
    expect(page.locator(".chip")).to_have_text("price: from 20")
    highest = price.get_by_label("to")
    highest.fill("9")
    highest.select_text()
    with page.expect_request_finished(lambda request: "/facets" in request.url):
        for route in held:
            route.continue_()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(highest).to_be_focused()
    page.keyboard.type("30.5")
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text("price: 20 to 30.5")


def test_long_lists_expand_and_booleans_can_be_chosen(page: Page, add_picture: AddPicture) -> None:
    add_picture(key="own-1", sold=True)
    add_picture(key="own-2", sold=False)
    open_start(page)
    open_filters(page)
    expect(field(page, "label").get_by_role("checkbox")).to_have_count(8)
    field(page, "label").get_by_role("button", name="Show all 12 values").click()
    expect(field(page, "label").get_by_role("checkbox")).to_have_count(12)
    choose(page, "sold", "true")
    expect(page.locator(".tile")).to_have_count(1)
    assert filter_in_url(page) == {"sold": {"$in": [True]}}


def test_filters_persist_across_a_search_and_a_reload(page: Page) -> None:
    open_start(page)
    open_filters(page)
    choose(page, "label", "mug")
    search_with_tile(page, 0)
    results = shown_ids(page)
    page.reload()
    expect(page.locator("#query .crop-button")).to_be_visible()
    assert (shown_ids(page), chips(page)) == (results, ["label: mug"])


def test_hostile_names_and_values_are_shown_as_text(page: Page, add_picture: AddPicture) -> None:
    hostile = '<img src=x onerror="document.title=1">'
    image_id = add_picture(key=f"key {hostile}", label=hostile, **{hostile: hostile})
    page.goto("/")
    open_filters(page)
    choose_hostile = field(page, hostile).get_by_role("checkbox")
    choose_hostile.check()
    expect(page.locator(".chip")).to_have_text(f"{hostile}: {hostile}")
    page.goto(f"/?id={image_id}&open={image_id}")
    expect(page.locator("#query .title")).to_have_text(hostile)
    page.get_by_role("button", name="Edit").click()
    expect(page.locator("dialog.edit")).to_contain_text(hostile)
    assert page.locator("img[src='x']").count() == 0
    assert page.title() != "1"


def test_start_breadcrumb_keeps_the_filters(page: Page) -> None:
    page.goto("/?label=hat")
    expect(page.locator("#heading")).to_have_text(match_count(page, "hat"))
    search_with_tile(page, 0)
    page.locator("#breadcrumbs a").first.click()
    expect(page.locator("#heading")).to_have_text(match_count(page, "hat"))
    page.get_by_role("link", name="Lookalike").click()
    expect(page.locator("#heading")).to_have_text("Try one of these")
    search_with_tile(page, 0)


def test_long_lists_can_be_searched_and_unique_fields_are_hidden(page: Page, add_picture: AddPicture) -> None:
    for number in range(12):
        add_picture(key=f"own-{number}", size=f"size {number}", sku=f"number {number}", n=number % 2)
    add_picture(key="own-12", size="size 1")
    page.goto("/")
    open_filters(page)
    expect(field(page, "sku")).to_have_count(0)
    field(page, "size").get_by_role("button", name="Show all 12 values").click()
    search = field(page, "size").get_by_role("searchbox", name="Find a value of size")
    expect(search).to_be_focused()
    search.fill("SIZE 1")
    expect(field(page, "size").locator("li:visible .value")).to_have_text(["size 1", "size 10", "size 11"])
    choose(page, "size", "size 11")
    search.fill("size 2")
    expect(field(page, "size").locator("li:visible .value")).to_have_text(["size 11", "size 2"])


def test_a_range_has_two_ends(page: Page) -> None:
    open_search(page)
    open_filters(page)
    lowest, highest = (page.get_by_role("slider", name=f"{name} price") for name in ("Lowest", "Highest"))
    lowest.focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("Tab")
    expect(page.locator(".chip")).to_have_text(re.compile(r"^price: from \d+"))
    least = field(page, "price").get_by_label("from").input_value()
    highest.press("Home")
    expect(page.locator(".chip")).to_have_text(f"price: {least} to {least}")
    lowest.press("Home")
    highest.press("End")
    expect(page.locator(".chip")).to_have_count(0)
    expect(page).to_have_url(re.compile(r"\?id=\d+$"))


def test_on_a_phone_filters_are_a_sheet_that_counts_the_results(browser: Browser, server_url: str) -> None:
    size = ViewportSize(width=390, height=844)
    with browser.new_context(base_url=server_url, has_touch=True, is_mobile=True, viewport=size) as context:
        page = context.new_page()
        open_search(page)
        page.get_by_role("button", name="Filter", exact=True).tap()
        choose_value = field(page, "label").get_by_role("checkbox", name=re.compile("^boot "))
        choose_value.check()
        expect(page.locator(".chip")).to_have_text("label: boot")
        price = field(page, "price")
        price.get_by_label("from").fill("1")
        price.get_by_label("to").fill("1")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Show 0 results")).to_be_visible()
        price.get_by_label("to").fill("")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Show 24 results").tap()
        expect(page.locator("#filter-sheet")).to_be_hidden()
        assert labels(page) == {"boot"}
