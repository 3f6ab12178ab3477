"""Accessibility checks with axe, for each view and state of the page in light and dark."""

import json
import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import FilePayload, Page, ViewportSize, expect

from tests.images import encoded, gradient
from tests.web.selecting import bar
from tests.web.steps import hold, open_cropper, open_details, open_panel, open_search, open_start

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = ("serious", "critical")
PHONE: ViewportSize = {"width": 390, "height": 844}


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


def panel_on_a_phone(page: Page) -> None:
    page.set_viewport_size(PHONE)
    open_search(page)
    open_panel(page, 0)


def phone(page: Page) -> None:
    page.set_viewport_size(PHONE)
    open_search(page)
    page.get_by_role("button", name="Menu").click()


def filter_sheet(page: Page) -> None:
    page.set_viewport_size(PHONE)
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


def open_dialog(page: Page, name: str) -> None:
    selection(page)
    bar(page).get_by_role("button", name=name).click()
    expect(page.get_by_role("dialog")).to_be_visible()


def label(page: Page) -> None:
    open_dialog(page, "Label…")


def set_field(page: Page) -> None:
    open_dialog(page, "Field…")


def export(page: Page) -> None:
    open_dialog(page, "Export…")


def delete(page: Page) -> None:
    open_dialog(page, "Delete…")


def conflict(page: Page) -> None:
    problem = {"code": "selection_changed", "detail": "2 pictures match, not 3. Nothing was changed."}
    page.route("**/images/update", lambda route: route.fulfill(status=409, json=problem))
    label(page)
    page.get_by_role("button", name="Save").click()
    expect(bar(page).get_by_role("alert")).to_contain_text("Nothing was changed. Select again")


def toast(page: Page) -> None:
    deleted = {"deleted": 2, "deletion_id": 1}
    page.route("**/images/delete", lambda route: route.fulfill(json=deleted))
    delete(page)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    page.locator(".toast").get_by_role("button", name="Undo").focus()  # so that it stays


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


def report(page: Page) -> None:
    page.route("**/report/summary", lambda route: route.fulfill(json=REPORT))
    page.goto("/operations")
    expect(page.get_by_text("Pictures whose label is probably wrong")).to_be_visible()


def key_dialog(page: Page) -> None:
    problem = {"code": "insufficient_scope", "detail": 'The key "shop" lacks the scope "search".'}
    page.route("**/images?*", lambda route: route.fulfill(status=403, json=problem))
    page.goto("/")
    expect(page.locator("#key-message")).to_contain_text("lacks the scope")


def skeleton(page: Page) -> None:
    hold(page, "**/similar?*")
    page.goto("/?id=1")
    expect(page.locator("#skeleton")).to_be_visible()


REJECTED: dict[str, Any] = {"id": None, "key": "a", "status": "rejected", "error": "It is damaged.", "warnings": []}
REPORT: dict[str, Any] = {
    "precision": 0.82,
    "recall": 0.97,
    "k": 10,
    "pool": 500,
    "recommended_pool": 300,
    "written_at": "2026-01-02T03:04:05Z",
    "images": 3,
    "labels": [{"label": "boot", "images": 3, "precision": 0.4, "examples": [1, 2]}],
    "suspects": [{"id": 1, "label": "boot", "suggested": "mug", "votes": 2, "neighbours": [2, 3]}],
}

VIEWS = [start, results, nothing_found, panel, panel_on_a_phone, phone, filter_sheet, edit, add, error, report]
VIEWS += [selection, label, set_field, export, delete, conflict, toast, trash, duplicates, add_table]
PENDING = [key_dialog, skeleton]


@pytest.mark.parametrize("view", VIEWS + PENDING)
def test_axe_reports_no_serious_violations(page: Page, view: Callable[[Page], None]) -> None:
    page.emulate_media(reduced_motion="reduce")  # an animation without an end could not be awaited
    view(page)
    if view not in PENDING:
        expect(page.locator("body")).not_to_have_class(re.compile("busy"))
    page.evaluate(AXE)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        # The opacity of the loading state changes back with a transition.
        page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
        found = page.evaluate("axe.run().then(({ violations }) => violations)")
        serious = [violation for violation in found if violation["impact"] in SERIOUS]
        assert not serious, f"{scheme}: {json.dumps(serious, indent=1)}"
