"""What the page does with many selected pictures: label, change, delete, export, search."""

import csv
import io
import json
import re

import httpx2
from playwright.sync_api import Download, Page, expect

from tests.web.selecting import bar, box, tile
from tests.web.steps import hold


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


def test_a_changed_selection_shows_what_changed_and_changes_nothing(
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


def test_an_unreachable_service_shows_an_error_in_the_dialog(listed: Page) -> None:
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


def downloads_of(page: Page) -> list[Download]:
    """Return the list of all further downloads."""
    found: list[Download] = []

    def collect(download: Download) -> None:
        found.append(download)

    page.on("download", collect)
    return found


def test_a_refused_export_shows_why_and_downloads_nothing(
    listed: Page, catalogue: httpx2.Client, own: list[str]
) -> None:
    catalogue.patch(f"/images/{own[0]}", json={"metadata": {"Key": 1}}).raise_for_status()
    downloads = downloads_of(listed)
    box(listed, 1).click()
    bar(listed).get_by_role("button", name="Export…").click()
    dialog = listed.get_by_role("dialog", name="Export 1 picture")
    dialog.get_by_role("link", name="CSV").click()
    expect(dialog.get_by_role("alert")).to_contain_text("a metadata field named 'Key' as a column")
    expect(dialog.get_by_role("alert")).to_contain_text("JSON Lines")
    assert downloads == []
    with listed.expect_download() as download:
        dialog.get_by_role("link", name="JSON Lines").click()
    assert json.loads(download.value.path().read_text())["metadata"]["Key"] == 1
    expect(dialog).to_have_count(0)


def test_an_export_from_a_stopped_service_shows_why(listed: Page) -> None:
    downloads = downloads_of(listed)
    box(listed, 1).click()
    bar(listed).get_by_role("button", name="Export…").click()
    listed.route("**/images/export?*", lambda route: route.abort("connectionrefused"))
    dialog = listed.get_by_role("dialog", name="Export 1 picture")
    dialog.get_by_role("link", name="CSV").click()
    expect(dialog.get_by_role("alert")).to_have_text("The service does not respond. Check that it is running.")
    assert downloads == []
