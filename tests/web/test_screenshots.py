"""Screenshots for the documentation; `make screenshots` saves them."""

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.web.steps import open_details, open_panel, open_start
from tests.web.test_accessibility import duplicates, selection
from tests.web.test_crop import drag
from tests.web.test_results import LAPTOP

DOCS = Path(__file__).parents[2] / "docs"
SCREENSHOTS = DOCS / "screenshots"
DESK, PHONE = ViewportSize(width=1200, height=900), ViewportSize(width=390, height=844)
# Images that are folded, or below the viewport, are not loaded before they are seen.
IMAGES_LOADED = """[...document.images].every((image) => !image.checkVisibility() ||
    (image.complete && image.naturalWidth) || image.getBoundingClientRect().top > innerHeight)"""
LINK = re.compile(r"screenshots/([\w-]+)\.png")


def search(page: Page, key: str = "demo-mug-006", **parameters: str) -> None:
    """Search with a demo picture and further URL parameters."""
    (picture,) = page.request.get("/images", params={"filter": json.dumps({"key": key})}).json()["items"]
    page.goto(f"/?{urlencode({'id': picture['id'], **parameters})}")
    expect(page.locator("#query .crop-button")).to_be_visible()


def filters(page: Page) -> None:
    search(page, filter='{"colour":{"$in":["sky","teal"]},"price":{"$lte":60}}')
    expect(page.locator("#filters fieldset").first).to_be_visible()


def search_options(page: Page) -> None:
    search(page)
    open_details(page)


def explanation(page: Page) -> None:
    search(page)
    open_panel(page, 2)
    page.get_by_text("Distances and code bits").click()


def operations(page: Page) -> None:
    page.goto("/operations")
    expect(page.get_by_role("button", name=re.compile("^Measure"))).to_be_visible()


def crop(page: Page) -> None:
    search(page, "demo-dress-003")
    drag(page, (0.25, 0.5), (0.75, 0.95))
    expect(page).to_have_url(re.compile("crop="))


def dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    search(page, "demo-sneaker-004")


def dark_panel(page: Page) -> None:
    dark(page)
    open_panel(page, 2)


def dark_operations(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    operations(page)


def browse_scrolled(page: Page) -> None:
    page.goto("/?sort=-price")
    expect(page.locator(".tile").first).to_be_visible()
    page.evaluate("scrollTo(0, 1500)")
    expect(page.locator("[aria-posinset='40'] img")).to_be_visible()


SCENES: dict[str, tuple[Callable[[Page], None], ViewportSize]] = {
    "start": (open_start, DESK),
    "search": (search, DESK),
    "filters": (filters, DESK),
    "search-options": (search_options, DESK),
    "explanation": (explanation, DESK),
    "crop": (crop, DESK),
    "phone": (dark, PHONE),
    "operations": (operations, DESK),
}

# Not in the documentation.
FURTHER_SCENES: dict[str, tuple[Callable[[Page], None], ViewportSize]] = {
    "selection": (selection, LAPTOP),
    "duplicates": (duplicates, LAPTOP),
    "browse-scrolled": (browse_scrolled, LAPTOP),
    "dark-search": (dark, LAPTOP),
    "dark-panel": (dark_panel, LAPTOP),
    "dark-operations": (dark_operations, LAPTOP),
    "phone-operations": (operations, PHONE),
}


@pytest.mark.parametrize("name", SCENES | FURTHER_SCENES)
def test_scene_renders(name: str, browser: Browser, server_url: str) -> None:
    scene, viewport = (SCENES | FURTHER_SCENES)[name]
    with browser.new_context(base_url=server_url, viewport=viewport) as context:
        page = context.new_page()
        scene(page)
        page.mouse.move(0, 0)
        expect(page.locator("body")).not_to_have_class(re.compile("busy"))
        # Not `wait_for_function`: it polls with `eval`, which the content security policy forbids.
        while not page.evaluate(IMAGES_LOADED):
            page.wait_for_timeout(50)
        screenshot = page.screenshot(animations="disabled", caret="hide")
    with Image.open(io.BytesIO(screenshot)) as image:
        assert image.size == (viewport["width"], viewport["height"])
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 1000, "the screenshot is nearly empty"
    if os.environ.get("KEEP_SCREENSHOTS") and name in SCENES:
        SCREENSHOTS.mkdir(exist_ok=True)
        (SCREENSHOTS / f"{name}.png").write_bytes(screenshot)


def test_every_scene_has_a_screenshot_in_the_documentation() -> None:
    pages = "".join(path.read_text() for path in (DOCS.parent / "README.md", *DOCS.glob("*.md")))
    assert {path.stem for path in SCREENSHOTS.glob("*.png")} == set(LINK.findall(pages)) == set(SCENES)
