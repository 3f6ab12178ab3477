"""Accessibility checks with axe, for each view of the page in light and dark."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Literal

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.images import encoded, gradient
from tests.web.steps import open_cropper, open_details, open_panel, open_search, open_start

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = ("serious", "critical")


def start(page: Page) -> None:
    open_start(page)
    expect(page.locator("#filters fieldset").first).to_be_visible()


def results(page: Page) -> None:
    open_search(page, "&label=boot&k=12&crop=20,20,60,60")
    open_details(page)
    page.get_by_role("button", name="Captions").click()
    open_cropper(page)


def nothing_found(page: Page) -> None:
    open_search(page, "&label=unknown")
    expect(page.locator("#warnings")).not_to_be_empty()


def panel(page: Page) -> None:
    open_search(page)
    open_panel(page, 0)
    page.get_by_text("Distances and code bits").click()
    page.get_by_text("What the model sees").click()


def phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_search(page)
    page.get_by_role("button", name="Menu").click()


def filter_sheet(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_search(page)
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#filters fieldset").first).to_be_visible()


def edit(page: Page) -> None:
    open_search(page)
    open_panel(page, 0)
    page.get_by_role("button", name="Edit").click()
    expect(page.locator("dialog.edit")).to_be_visible()


def add(page: Page) -> None:
    open_start(page)
    picture = encoded(gradient(), "PNG")
    pictures: list[FilePayload] = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": picture} for name in "ab"]
    page.set_input_files("#several", pictures)
    page.route("**/index", lambda route: route.fulfill(json={"items": [REJECTED, REJECTED | {"status": "created"}]}))
    page.get_by_role("button", name="Add 2 pictures").click()
    expect(page.locator("[data-status=rejected]")).to_be_visible()


def add_table(page: Page) -> None:
    open_start(page)
    picture: FilePayload = {"name": "a.png", "mimeType": "image/png", "buffer": encoded(gradient(), "PNG")}
    table: FilePayload = {"name": "a.csv", "mimeType": "text/csv", "buffer": b"file,key\na.png,a\nnone.png,b\n"}
    page.set_input_files("#several", [picture, table])
    page.get_by_role("button", name="Add 1 picture").click()
    expect(page.locator("[data-status=rejected]")).to_be_visible(timeout=60_000)


def selection(page: Page) -> None:
    open_start(page)
    page.locator(".tile").first.focus()
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator(".selection-bar")).to_be_visible()


def set_field(page: Page) -> None:
    selection(page)
    page.get_by_role("button", name="Field…").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def trash(page: Page) -> None:
    picture: FilePayload = {"name": "a.png", "mimeType": "image/png", "buffer": encoded(gradient(), "PNG")}
    added = page.request.post("/index", multipart={"images": picture}).json()["items"][0]["id"]
    page.request.delete(f"/images/{added}")
    page.goto("/?trash")
    page.locator(".tile").first.focus()
    page.keyboard.press("x")


def duplicates(page: Page) -> None:
    page.route("**/duplicates?*", lambda route: route.fulfill(json=group_of_two(page)))
    page.goto("/?duplicates=exact")
    expect(page.locator(".group-card")).to_be_visible()


def group_of_two(page: Page) -> dict[str, Any]:
    first, second = page.request.get("/images?limit=2").json()["items"]
    return {"groups": [{"image": first, "duplicates": [second], "complete": True}], "next_cursor": None}


def error(page: Page) -> None:
    page.goto("/?id=999999999")
    expect(page.locator("#message")).not_to_be_empty()


REJECTED: dict[str, Any] = {"id": None, "key": "a", "status": "rejected", "error": "It is damaged.", "warnings": []}


VIEWS = [start, results, nothing_found, panel, phone, filter_sheet, edit, add, error]
VIEWS += [selection, set_field, trash, duplicates, add_table]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_reports_no_serious_violations(
    page: Page, scheme: Literal["light", "dark"], view: Callable[[Page], None]
) -> None:
    page.emulate_media(color_scheme=scheme)
    view(page)
    expect(page.locator("body")).not_to_have_class("busy")
    # The opacity of the loading state changes back with a transition.
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    page.evaluate(AXE)
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    serious = [violation for violation in found if violation["impact"] in SERIOUS]
    assert not serious, json.dumps(serious, indent=1)
