"""Editing and deleting a catalogue picture on the page."""

import re

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.web.conftest import AddPicture
from tests.web.steps import search_with_tile, shown_ids


def open_edit(page: Page, image_id: str) -> Locator:
    page.goto(f"/?open={image_id}")
    page.get_by_role("button", name="Edit").click()
    dialog = page.locator("dialog.edit")
    expect(dialog).to_be_visible()
    return dialog


def metadata(catalogue: httpx2.Client, image_id: str) -> dict[str, object]:
    found: dict[str, object] = catalogue.get(f"/images/{image_id}").json()["metadata"]
    return found


def test_label_and_fields_can_be_changed_added_and_removed(
    page: Page, add_picture: AddPicture, catalogue: httpx2.Client
) -> None:
    image_id = add_picture(key="own", label="boots", price=20, colour="red", sizes=[1, 2])
    dialog = open_edit(page, image_id)
    dialog.get_by_label("Label").fill("hats")
    dialog.get_by_label("Value of price").fill("19.5")
    dialog.get_by_role("button", name="Remove colour").click()
    dialog.get_by_role("button", name="Add a field").click()
    page.keyboard.type("season")
    page.keyboard.press("Tab")
    page.keyboard.type("autumn")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expect(page.locator("#panel-title")).to_have_text("hats")
    expect(page.locator("#panel dl")).to_contain_text("autumn")
    assert metadata(catalogue, image_id) == {"price": 19.5, "sizes": [1, 2], "season": "autumn"}


def test_values_keep_their_types(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    before = {
        "code": "0012",
        "text": "42",
        "flag": "true",
        "yes": True,
        "nested": {"a": [1, "1"]},
        "empty": "",
        "n": 1.0,
    }
    image_id = add_picture(key="own", **before)
    dialog = open_edit(page, image_id)
    dialog.get_by_role("button", name="Add a field").click()
    page.keyboard.type("ean")
    page.keyboard.press("Tab")
    page.keyboard.type("12345678901234567890")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    assert metadata(catalogue, image_id) == before | {"ean": "12345678901234567890"}


def test_whole_numbers_beyond_a_double_are_kept_and_changed_exactly(
    page: Page, add_picture: AddPicture, catalogue: httpx2.Client
) -> None:
    image_id = add_picture(key="own", serial=9007199254740993, serials=[9007199254740993, 1], size=1)
    dialog = open_edit(page, image_id)
    serial = dialog.get_by_label("Value of serial", exact=True)
    expect(serial).to_have_value("9007199254740993")
    serial.fill("9007199254740995")
    dialog.get_by_label("Value of serials", exact=True).fill("[9007199254740993, 2]")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    expected = {"serial": 9007199254740995, "serials": [9007199254740993, 2], "size": 1}
    assert metadata(catalogue, image_id) == expected


METADATA = {"note": "line one\nline two", "windows": "one\r\ntwo", "padded": " a ", " spaced ": 1, "": "", "n": "\n"}


def test_unchanged_fields_are_not_sent(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    image_id = add_picture(key="own", label="boots", **METADATA)
    before = metadata(catalogue, image_id)
    assert before == METADATA
    dialog = open_edit(page, image_id)
    dialog.get_by_label("Label").fill("hats")
    with page.expect_request(lambda request: request.method == "PATCH") as sent:
        dialog.get_by_role("button", name="Save").click()
    assert sent.value.post_data_json == {"label": "hats"}
    expect(page.locator("#panel-title")).to_have_text("hats")
    assert metadata(catalogue, image_id) == before


def test_an_unchanged_label_is_not_sent(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    image_id = add_picture(key="own", label=" two\nlines ", colour="red")
    label = catalogue.get(f"/images/{image_id}").json()["label"]
    dialog = open_edit(page, image_id)
    dialog.get_by_label("Value of colour").fill(" blue ")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    assert catalogue.get(f"/images/{image_id}").json()["label"] == label
    assert metadata(catalogue, image_id) == {"colour": "blue"}


def test_multiline_text_keeps_its_line_breaks(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    image_id = add_picture(key="own", **METADATA)
    dialog = open_edit(page, image_id)
    dialog.get_by_label("Value of note").press("Control+End")
    page.keyboard.press("Enter")
    page.keyboard.type("line three")
    dialog.get_by_label("Value of windows").press("Control+End")
    page.keyboard.type("s")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    changed = {"note": "line one\nline two\nline three", "windows": "one\r\ntwos"}
    assert metadata(catalogue, image_id) == METADATA | changed


def test_a_renamed_field_keeps_its_value(page: Page, add_picture: AddPicture, catalogue: httpx2.Client) -> None:
    image_id = add_picture(key="own", note="one\r\ntwo\n")
    dialog = open_edit(page, image_id)
    dialog.get_by_label("Field", exact=True).fill("remark")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog).to_be_hidden()
    assert metadata(catalogue, image_id) == {"remark": "one\r\ntwo\n"}


def test_a_field_can_be_renamed_and_the_label_removed(
    page: Page, add_picture: AddPicture, catalogue: httpx2.Client
) -> None:
    image_id = add_picture(key="own", label="boots", color="red")
    dialog = open_edit(page, image_id)
    dialog.get_by_label("Label").fill("")
    dialog.get_by_label("Field").fill("colour")
    page.keyboard.press("Enter")
    expect(page.locator("#panel-title")).to_have_text("own")
    assert metadata(catalogue, image_id) == {"colour": "red"}


def test_a_failed_save_shows_an_error_and_keeps_the_input(page: Page, add_picture: AddPicture) -> None:
    dialog = open_edit(page, add_picture(key="own", colour="red"))
    dialog.get_by_role("button", name="Add a field").click()
    fields, error = dialog.get_by_role("textbox", name="Field", exact=True), dialog.get_by_role("alert")
    dialog.get_by_label("Value of the new field").fill("blue")
    dialog.get_by_role("button", name="Save").click()
    expect(error).to_have_text('The field with the value "blue" has no name. Enter one.')
    fields.last.fill("colour")
    dialog.get_by_role("button", name="Save").click()
    expect(error).to_have_text('Two fields have the name "colour". Rename or remove one.')
    fields.last.fill("second")
    page.route("**/images/*", lambda route: route.abort() if route.request.method == "PATCH" else route.continue_())
    dialog.get_by_role("button", name="Save").click()
    expect(error).to_contain_text("does not respond")
    expect(fields.last).to_have_value("second")


def test_deleting_requires_confirmation_and_keeps_the_view(
    page: Page, add_picture: AddPicture, catalogue: httpx2.Client
) -> None:
    image_id = add_picture(key="own", label="boots")
    page.goto(f"/?id={image_id}&open={image_id}")
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete boots own?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert catalogue.get(f"/images/{image_id}").status_code == 200
    page.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete").click()
    expect(page.locator("#heading")).to_have_text("Try one of these")
    expect(page).to_have_url(re.compile(r"/$"))
    expect(page.locator(".toast")).to_contain_text("Deleted.")
    assert catalogue.get(f"/images/{image_id}").status_code == 404


def test_breadcrumbs_omit_deleted_pictures(page: Page, add_picture: AddPicture) -> None:
    first, second = add_picture(key="own-1", n=1), add_picture(key="own-2", n=2)
    page.goto(f"/?id={first}")
    expect(page.locator(".tile").first).to_have_attribute("data-id", second)
    search_with_tile(page, 0)
    expect(page.locator("#breadcrumbs a")).to_have_count(2)
    page.locator("#breadcrumbs a").nth(1).click()
    page.get_by_role("button", name="Details of own-1").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog", name="Delete own-1?").get_by_role("button", name="Delete").click()
    expect(page.locator("#heading")).to_have_text("Try one of these")
    page.go_back()
    expect(page.locator("#heading")).to_have_text("Try one of these")
    page.go_back()
    expect(page).to_have_url(re.compile(rf"id={second}$"))
    expect(page.locator("#breadcrumbs a")).to_have_text(["Start"])
    assert first not in shown_ids(page)


COVERED = """(toast) => {
  const { left, top, width, height } = toast.getBoundingClientRect();
  return !toast.contains(document.elementFromPoint(left + width / 2, top + height / 2));
}"""


@pytest.mark.parametrize("size", [(390, 844), (1280, 720)])
def test_the_message_after_saving_is_not_covered(page: Page, add_picture: AddPicture, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})
    dialog = open_edit(page, add_picture(key="own", label="boots"))
    dialog.get_by_label("Label").fill("hats")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("#panel-title")).to_have_text("hats")
    toast = page.get_by_role("status").locator(".toast")
    expect(toast).to_contain_text("Saved.")
    assert page.locator("#panel").evaluate("(panel) => panel.matches(':modal')") is (size[0] < 1024)
    assert not toast.evaluate(COVERED)
    page.get_by_role("button", name="Close", exact=True).click()
    expect(page.locator("#panel")).to_be_hidden()
    expect(toast).to_be_visible()
    assert not toast.evaluate(COVERED)
    page.locator(".tile").first.click()
    expect(page.locator("#panel")).to_be_visible()
    assert not toast.evaluate(COVERED)
    toast.get_by_role("button", name="Dismiss").click()
    expect(toast).to_have_count(0)
