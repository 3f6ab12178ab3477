"""axe, a checker of accessibility, finds nothing serious on any of the page's faces, light or dark."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any, Literal

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.pictures import encoded, gradient
from tests.web.steps import open_search, open_start

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
SERIOUS = ("serious", "critical")


def start(page: Page) -> None:
    open_start(page)
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#filters fieldset").first).to_be_visible()


def results(page: Page) -> None:
    open_search(page, "&label=boot&k=12&crop=20,20,60,60")
    page.get_by_role("button", name="More ways to search").click()
    expect(page.get_by_role("slider").first).to_be_visible()


def nothing_found(page: Page) -> None:
    open_search(page, "&label=unheard")
    expect(page.locator("#warnings")).not_to_be_empty()


def why(page: Page) -> None:
    open_search(page)
    page.locator(".tile").first.hover()
    page.locator(".why").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()


def edit(page: Page) -> None:
    open_search(page)
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_role("dialog")).to_be_visible()


def add(page: Page) -> None:
    open_start(page)
    picture = encoded(gradient(), "PNG")
    pictures: list[FilePayload] = [{"name": f"{name}.png", "mimeType": "image/png", "buffer": picture} for name in "ab"]
    page.set_input_files("#several", pictures)
    page.route("**/index", lambda route: route.fulfill(json={"items": [REJECTED, REJECTED | {"status": "created"}]}))
    page.get_by_role("button", name="Add 2 pictures").click()
    expect(page.locator("[data-fate=rejected]")).to_be_visible()


def trouble(page: Page) -> None:
    page.goto("/?id=999999999")
    expect(page.locator("#message")).not_to_be_empty()


REJECTED: dict[str, Any] = {"id": None, "key": "a", "status": "rejected", "error": "It is damaged."}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("face", [start, results, nothing_found, why, edit, add, trouble])
def test_axe_finds_nothing_serious(page: Page, scheme: Literal["light", "dark"], face: Callable[[Page], None]) -> None:
    page.emulate_media(color_scheme=scheme)
    face(page)
    expect(page.locator("body")).not_to_have_class("busy")
    # What was paled while something was on its way takes a moment to come back.
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    page.evaluate(AXE)
    found = page.evaluate("axe.run().then(({ violations }) => violations)")
    serious = [violation for violation in found if violation["impact"] in SERIOUS]
    assert not serious, json.dumps(serious, indent=1)
