"""Selecting pictures, and what can be done with many at once."""

import csv
import io
import json
import re

import httpx2
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.web.conftest import TIMEOUT_MS, AddPicture
from tests.web.steps import hold, open_search, shown_ids


def tile(page: Page, position: int) -> Locator:
    """Return the tile at a position, from 1."""
    return page.locator(f"[aria-posinset='{position}'] .tile")


def box(page: Page, position: int) -> Locator:
    return page.locator(f"[aria-posinset='{position}'] .select-box")


def selected(page: Page) -> list[int]:
    """Return the positions of the selected tiles."""
    found: list[int] = page.locator("li.selected").evaluate_all(
        "(items) => items.map((item) => Number(item.getAttribute('aria-posinset')))"
    )
    return found


def bar(page: Page) -> Locator:
    return page.get_by_role("region", name="Selected pictures")


@pytest.fixture
def own(add_picture: AddPicture) -> list[str]:
    """Add six pictures with the label "own"; return their ids."""
    return [add_picture(key=f"own-{number}", label="own", n=number, colour="red") for number in range(6)]


@pytest.fixture
def listed(page: Page, own: list[str]) -> Page:
    """Open the page with these pictures, in the order of their numbers."""
    page.goto("/?label=own&sort=n")
    expect(page.locator("#heading")).to_have_text("6 pictures match")
    assert shown_ids(page) == own
    return page


def test_check_boxes_shift_and_clicks(listed: Page) -> None:
    page = listed
    expect(box(page, 1)).to_have_css("opacity", "0")
    tile(page, 1).hover()
    expect(box(page, 1)).to_have_css("opacity", "1")
    box(page, 2).click()
    expect(bar(page)).to_contain_text("1 selected")
    box(page, 4).click(modifiers=["Shift"])
    assert selected(page) == [2, 3, 4]
    tile(page, 6).click()  # while pictures are selected, a click selects
    assert selected(page) == [2, 3, 4, 6]
    tile(page, 3).click()
    assert selected(page) == [2, 4, 6]
    bar(page).get_by_role("button", name="Clear the selection").click()
    expect(bar(page)).to_be_hidden()
    assert selected(page) == []
    assert re.search(r"label=own&sort=n$", page.url)


def test_keyboard_alone(listed: Page) -> None:
    page = listed
    tile(page, 2).focus()
    page.keyboard.press("x")
    assert selected(page) == [2]
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert selected(page) == [2, 3, 4]
    page.keyboard.press("Shift+ArrowLeft")
    assert selected(page) == [2, 3]
    expect(tile(page, 3)).to_be_focused()
    page.keyboard.press("Space")
    assert selected(page) == [2]
    page.keyboard.press("Control+a")
    assert selected(page) == [1, 2, 3, 4, 5, 6]
    page.keyboard.press("Escape")
    assert selected(page) == []
    expect(tile(page, 3)).to_be_focused()


def test_a_rectangle_selects_the_tiles_that_it_touches(listed: Page) -> None:
    page = listed
    first, third = tile(page, 1).bounding_box(), tile(page, 3).bounding_box()
    assert first is not None
    assert third is not None
    page.mouse.move(first["x"] + 80, first["y"] + 60)
    page.mouse.down()
    page.mouse.move(third["x"] + 30, third["y"] + 90, steps=5)
    assert selected(page) == [1, 2, 3]
    page.mouse.move(third["x"] - 30, third["y"] + 90, steps=5)
    page.mouse.up()
    assert selected(page) == [1, 2]
    assert re.search(r"label=own&sort=n$", page.url)  # releasing the button is no click
    page.keyboard.press("Escape")
    tile(page, 1).click()
    expect(page).to_have_url(re.compile("open="))


def test_a_long_press_selects_on_touch_screens(browser: Browser, server_url: str, own: list[str]) -> None:
    with browser.new_context(
        base_url=server_url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    ) as context:
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        page.goto("/?label=own&sort=n")
        expect(tile(page, 1)).to_be_visible()
        expect(box(page, 1)).to_be_hidden()
        place = tile(page, 1).bounding_box()
        assert place is not None
        touch = context.new_cdp_session(page)
        points = [{"x": place["x"] + 60, "y": place["y"] + 60}]
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points})
        expect(bar(page)).to_contain_text("1 selected")
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        expect(box(page, 2)).to_be_visible()
        tile(page, 2).tap()
        expect(bar(page)).to_contain_text("2 selected")
        assert selected(page) == [1, 2]
        sizes = (
            bar(page)
            .get_by_role("button")
            .evaluate_all(
                "(buttons) => buttons.map((one) => one.getBoundingClientRect()).filter(({ width }) => width)"
                ".map(({ width, height }) => Math.min(width, height))"
            )
        )
        assert min(sizes) >= 44
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0


def test_the_selection_holds_while_rows_leave_the_document(page: Page) -> None:
    page.goto("/")
    box(page, 1).click()
    page.evaluate("document.activeElement.blur()")  # the focused one stays
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(tile(page, 1)).to_have_count(0)
    expect(page.locator(".placeholder")).to_have_count(0)
    page.evaluate("scrollTo(0, 0)")
    expect(box(page, 1)).to_be_checked()


def test_label_many(listed: Page, catalogue: httpx2.Client, own: list[str]) -> None:
    page = listed
    box(page, 1).click()
    box(page, 3).click(modifiers=["Shift"])
    bar(page).get_by_role("button", name="Label…").click()
    dialog = page.get_by_role("dialog", name="Label 3 pictures")
    dialog.get_by_label("Label", exact=True).fill("shoes")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("3 pictures labelled “shoes”.")
    expect(page.locator("#heading")).to_have_text("3 pictures match")
    assert [catalogue.get(f"/images/{one}").json()["label"] for one in own] == ["shoes"] * 3 + ["own"] * 3


def test_set_and_remove_a_field(listed: Page, catalogue: httpx2.Client, own: list[str]) -> None:
    page = listed

    def set_field(name: str, value: str) -> None:
        bar(page).get_by_role("button", name="Field…").click()
        dialog = page.get_by_role("dialog", name="Set a field of 2 pictures")
        dialog.get_by_label("Field").fill(name)
        dialog.get_by_label("Value").fill(value)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_be_hidden()

    box(page, 1).click()
    box(page, 2).click()
    set_field("season", "2019")
    expect(page.locator("#toasts")).to_contain_text("2 pictures changed: season is 2019.")
    set_field("colour", "")  # the selection is still there
    expect(page.locator("#toasts")).to_contain_text("2 pictures changed: colour is removed.")
    records = [catalogue.get(f"/images/{one}").json()["metadata"] for one in own]
    assert records == [{"n": n, "season": 2019} for n in range(2)] + [{"n": n, "colour": "red"} for n in range(2, 6)]


def test_a_field_without_a_name_is_rejected(listed: Page) -> None:
    box(listed, 1).click()
    bar(listed).get_by_role("button", name="Field…").click()
    listed.get_by_role("button", name="Save").click()
    expect(listed.get_by_role("dialog").get_by_role("alert")).to_have_text("The field has no name. Enter one.")


def test_delete_and_undo(listed: Page, catalogue: httpx2.Client, own: list[str]) -> None:
    page = listed
    before = [catalogue.get(f"/images/{one}").json() for one in own]
    box(page, 2).click()
    box(page, 5).click(modifiers=["Shift"])
    bar(page).get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog", name="Delete 4 pictures?").get_by_role("button", name="Delete").click()
    expect(page.locator("#heading")).to_have_text("2 pictures match")
    expect(bar(page)).to_be_hidden()
    assert [catalogue.get(f"/images/{one}").status_code for one in own] == [200, 404, 404, 404, 404, 200]
    page.locator("#toasts").get_by_role("button", name="Undo").click()
    expect(page.locator("#heading")).to_have_text("6 pictures match")
    expect(page.locator("#toasts")).to_contain_text("4 pictures restored.")
    assert [catalogue.get(f"/images/{one}").json() for one in own] == before


def test_all_that_match_are_changed_by_their_filter(page: Page, own: list[str], catalogue: httpx2.Client) -> None:
    page.goto('/?sort=n&filter={"n":{"$gte":2},"colour":"red"}')
    expect(page.locator("#heading")).to_have_text("4 pictures match")
    box(page, 1).click()
    bar(page).get_by_role("button", name="Select all 4 that match").click()
    expect(bar(page)).to_contain_text("4 selected")
    bar(page).get_by_role("button", name="Label…").click()
    page.get_by_role("dialog").get_by_label("Label", exact=True).fill("many")
    with page.expect_request("**/images/update") as sent:
        page.get_by_role("button", name="Save").click()
    assert sent.value.post_data_json == {
        "filter": {"n": {"$gte": 2}, "colour": "red"},
        "expected": 4,
        "set_label": "many",
    }
    expect(page.locator("#toasts")).to_contain_text("4 pictures labelled")
    assert [catalogue.get(f"/images/{one}").json()["label"] for one in own] == ["own"] * 2 + ["many"] * 4


def test_all_that_words_find_are_changed_together(page: Page, own: list[str], catalogue: httpx2.Client) -> None:
    for image_id in own[:4]:
        catalogue.patch(f"/images/{image_id}", json={"metadata": {"note": "zeppelins"}})
    page.goto("/?sort=n&text=zeppelin")
    expect(page.locator("#heading")).to_have_text("4 pictures match")
    box(page, 1).click()
    bar(page).get_by_role("button", name="Select all 4 that match").click()
    assert len(export(page, "JSON Lines").splitlines()) == 4
    bar(page).get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog", name="Delete 4 pictures?").get_by_role("button", name="Delete").click()
    expect(page.locator("#heading")).to_have_text("No pictures match")
    assert [catalogue.get(f"/images/{one}").status_code for one in own] == [404] * 4 + [200] * 2


def test_a_selection_changed_meanwhile_is_told_and_nothing_is_done(
    listed: Page, catalogue: httpx2.Client, own: list[str]
) -> None:
    page = listed
    box(page, 1).click()
    box(page, 3).click(modifiers=["Shift"])
    catalogue.delete(f"/images/{own[1]}")
    bar(page).get_by_role("button", name="Delete…").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    message = bar(page).get_by_role("alert")
    expect(message).to_contain_text(f"{own[1]} is no longer in the catalogue. Nothing was changed.")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert catalogue.get(f"/images/{own[0]}").status_code == 200
    message.get_by_role("button", name="Select again").click()
    expect(page.locator("#heading")).to_have_text("5 pictures match")
    expect(bar(page)).to_be_hidden()


def test_a_service_that_does_not_respond_is_told_in_the_dialog(listed: Page) -> None:
    listed.route("**/images/update", lambda route: route.abort())
    box(listed, 1).click()
    bar(listed).get_by_role("button", name="Label…").click()
    listed.get_by_role("dialog").get_by_label("Label", exact=True).fill("hats")
    listed.get_by_role("button", name="Save").click()
    expect(listed.get_by_role("dialog").get_by_role("alert")).to_contain_text("does not respond")
    expect(listed.get_by_role("dialog").get_by_label("Label", exact=True)).to_have_value("hats")


def export(page: Page, link: str) -> str:
    bar(page).get_by_role("button", name="Export…").click()
    with page.expect_download() as download:
        page.get_by_role("dialog").get_by_role("link", name=link).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    return download.value.path().read_text("utf-8-sig")


def test_export_of_single_pictures_and_of_all(listed: Page) -> None:
    page = listed
    box(page, 1).click()
    box(page, 2).click()
    rows = list(csv.DictReader(io.StringIO(export(page, "CSV"))))
    assert [(row["key"], row["label"], row["n"]) for row in rows] == [("own-0", "own", "0"), ("own-1", "own", "1")]
    bar(page).get_by_role("button", name="Select all 6 that match").click()
    lines = [json.loads(line) for line in export(page, "JSON Lines").splitlines()]
    assert [line["key"] for line in lines] == [f"own-{number}" for number in range(6)]


def test_search_with_several_pictures(listed: Page, own: list[str]) -> None:
    page = listed
    held = hold(page, "**/search?*")
    box(page, 1).click()
    box(page, 3).click(modifiers=["Shift"])
    bar(page).get_by_role("button", name="Search").click()
    expect(page.locator("body.busy")).to_have_count(1)
    while not held:
        page.wait_for_timeout(20)
    assert held[0].request.post_data_json == {"like": [int(one) for one in own[:3]], "unlike": []}
    held[0].continue_()
    expect(page).to_have_url(re.compile(rf"\?id={own[0]}&like={own[1]}%2C{own[2]}$"))
    expect(page.locator("#heading")).to_have_text("Most similar first")
    expect(bar(page)).to_be_hidden()


def test_more_than_sixteen_cannot_be_searched_with(page: Page) -> None:
    page.goto("/?label=boot")
    box(page, 1).click()
    box(page, 16).click(modifiers=["Shift"])
    expect(bar(page).get_by_role("button", name="Search")).to_be_visible()
    tile(page, 17).click()
    expect(bar(page)).to_contain_text("17 selected")
    expect(bar(page).get_by_role("button", name="Search")).to_have_count(0)


def test_results_of_a_search_can_be_selected(page: Page) -> None:
    open_search(page)
    ids = shown_ids(page)
    page.locator(".tile").nth(1).focus()
    page.keyboard.press("x")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("li.selected .tile")).to_have_count(2)
    chosen = page.locator("li.selected .tile").evaluate_all("(tiles) => tiles.map((one) => one.dataset.id)")
    assert chosen == ids[1:3]
    expect(bar(page).get_by_role("button", name=re.compile("Select all"))).to_be_hidden()


@pytest.fixture
def reader(page: Page, server_url: str) -> Page:
    """The page with a key that may only search."""
    page.route("**/session", lambda route: route.fulfill(json={"key": "r", "key_required": True, "scopes": ["search"]}))
    page.context.add_cookies([{"name": "lookalike_key_given", "value": "yes", "url": server_url}])
    return page


def test_a_key_that_may_only_search_is_not_offered_changes(reader: Page) -> None:
    reader.goto("/")
    box(reader, 1).click()
    expect(bar(reader).get_by_role("button", name="Export…")).to_be_visible()
    for name in ("Label…", "Field…", "Delete…"):
        expect(bar(reader).get_by_role("button", name=name)).to_have_count(0)
    expect(reader.get_by_role("link", name="Trash")).to_have_count(0)
