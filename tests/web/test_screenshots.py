"""The documentation's screenshots, made anew: `make screenshots` keeps them."""

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

from tests.web.steps import open_start
from tests.web.test_crop import drag
from tests.web.test_why import open_why

DOCS = Path(__file__).parents[2] / "docs"
KEPT = DOCS / "screenshots"
DESK, PHONE = ViewportSize(width=1200, height=900), ViewportSize(width=390, height=844)
# What is below the screen is loaded when somebody looks.
DRAWN = """[...document.images].every((image) =>
    (image.complete && image.naturalWidth) || image.getBoundingClientRect().top > innerHeight)"""
LINK = re.compile(r"screenshots/([\w-]+)\.png")


def search(page: Page, key: str = "demo-mug-006", **asked: str) -> None:
    """Searches with a picture of the demo; the address says what else is asked for."""
    (picture,) = page.request.get("/images", params={"filter": json.dumps({"key": key})}).json()["items"]
    page.goto(f"/?{urlencode({'id': picture['id'], **asked})}")
    expect(page.locator("#query img")).to_be_visible()


def filters(page: Page) -> None:
    search(page, filter='{"colour":{"$in":["sky","teal"]},"price":{"$lte":60}}')
    page.get_by_role("button", name="Filter", exact=True).click()
    expect(page.locator("#filters fieldset").first).to_be_visible()


def ways(page: Page) -> None:
    search(page)
    page.get_by_role("button", name="More ways to search").click()


def why(page: Page) -> None:
    search(page)
    open_why(page, 2)


def part(page: Page) -> None:
    search(page, "demo-dress-003")
    drag(page, (0.25, 0.5), (0.75, 0.95))
    expect(page).to_have_url(re.compile("crop="))


def dark(page: Page) -> None:
    page.emulate_media(color_scheme="dark")
    search(page, "demo-sneaker-004")


SCENES: dict[str, tuple[Callable[[Page], None], ViewportSize]] = {
    "start": (open_start, DESK),
    "search": (search, DESK),
    "filters": (filters, DESK),
    "ways": (ways, DESK),
    "why": (why, DESK),
    "part": (part, DESK),
    "phone": (dark, PHONE),
}


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_can_be_made_anew(name: str, browser: Browser, server_url: str) -> None:
    scene, viewport = SCENES[name]
    with browser.new_context(base_url=server_url, viewport=viewport) as context:
        page = context.new_page()
        scene(page)
        page.mouse.move(0, 0)
        expect(page.locator("body")).not_to_have_class(re.compile("busy"))
        # Not `wait_for_function`: past its first look that is `eval` to the page, which its policy forbids.
        while not page.evaluate(DRAWN):
            page.wait_for_timeout(50)
        made = page.screenshot(animations="disabled", caret="hide")
    with Image.open(io.BytesIO(made)) as image:
        assert image.size == (viewport["width"], viewport["height"])
        assert len(image.convert("RGB").getcolors(1 << 24) or ()) > 1000, "the page and pictures of the catalogue"
    if os.environ.get("KEEP_SCREENSHOTS"):
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"{name}.png").write_bytes(made)


def test_every_scene_is_kept_and_shown() -> None:
    pages = "".join(path.read_text() for path in (DOCS.parent / "README.md", *DOCS.glob("*.md")))
    assert {path.stem for path in KEPT.glob("*.png")} == set(LINK.findall(pages)) == set(SCENES)
