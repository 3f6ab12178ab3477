"""The operations page and the API docs in a real browser, with and without keys."""

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any, Literal

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from app.api.middleware import auth
from app.settings import Settings
from app.tasks import runner
from tests.api.prefix_proxy import prefix_proxy
from tests.api.server import serve
from tests.api.test_index import random_image
from tests.ingest.archives import zipped
from tests.web.conftest import TIMEOUT_MS
from tests.web.steps import horizontal_overflow
from tests.web.test_accessibility import AXE, SERIOUS

PREFIX = "/tools/lookalike"
HOSTILE = '<img src=x onerror="document.title=1">'
# Prints progress, then waits for a file in the data folder.
WAITING = """
import json, os, pathlib, sys, time
print(json.dumps({"step": "encoding", "processed": 3, "total": 10}), file=sys.stderr, flush=True)
while not pathlib.Path(os.environ["LOOKALIKE_DATA_DIR"], "go").exists():
    time.sleep(0.02)
print("The catalogue is as good as new.")
"""


@pytest.fixture
def url(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a service that requires keys once there is one, with three images, below a path."""
    monkeypatch.setattr(auth, "CACHE_TTL_S", 0.0)
    monkeypatch.setattr(runner, "COMMAND", (sys.executable, "-c", WAITING))
    with (
        serve(settings.model_copy(update={"root_path": PREFIX, "auth": "auto"})) as server,
        prefix_proxy(server.url, PREFIX, strips=True, headers=False) as address,
    ):
        files = [("images", (f"{number}.png", random_image(number))) for number in range(3)]
        httpx2.post(f"{server.url}/index", files=files).raise_for_status()
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        context.set_default_timeout(TIMEOUT_MS)
        yield context.new_page()


def create_key(page: Page, name: str, *scopes: str) -> str:
    """Create a key on the page and return it."""
    page.get_by_role("button", name="Create a key").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill(name)
    for scope in ("search", "write", "admin"):
        dialog.get_by_role("checkbox", name=re.compile(f"^{scope}")).set_checked(scope in scopes)
    dialog.get_by_role("button", name="Create", exact=True).click()
    shown = page.get_by_role("dialog", name=f"The key “{name}”")
    key = shown.locator("pre").inner_text()
    page.keyboard.press("Escape")
    expect(shown).to_be_hidden()
    return key


def enter_key(page: Page, key: str) -> None:
    page.get_by_role("textbox", name="API key").fill(key)
    page.keyboard.press("Enter")


def test_page_shows_the_service_and_runs_a_task(page: Page, url: str, settings: Settings) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(error.message))
    page.goto(f"{url}/")
    page.get_by_role("link", name="Operations").click()
    expect(page.locator("#health")).to_contain_text("Ready")
    expect(page.locator("#health dl")).to_contain_text(re.compile(r"Pictures\s*3"))
    model = page.locator("#model")
    expect(model).to_contain_text("Fits codes to these pictures")
    model.get_by_label("Model").select_option("general-large")
    model.get_by_role("button", name="Reindex").click()
    page.get_by_role("dialog").get_by_role("button", name="Reindex").click()
    bar = model.get_by_role("progressbar", name="Moving to general-large: encoding")
    expect(bar).to_have_js_property("value", 3)
    expect(model).to_contain_text("3 of 10")
    expect(page.get_by_role("button", name=re.compile("Adapt|Reindex|Measure"))).to_have_count(0)
    (settings.data_dir / "go").touch()
    expect(model).to_contain_text("The catalogue is as good as new. Just now.")
    expect(model.get_by_role("button", name="Adapt the codes")).to_be_visible()
    assert errors == []


def test_task_is_cancelled_and_a_refusal_is_shown(page: Page, url: str) -> None:
    page.goto(f"{url}/operations")
    adapt = page.get_by_role("button", name="Adapt the codes")
    expect(adapt).to_be_visible()
    # Another page starts a task meanwhile.
    httpx2.post(f"{url}/tasks/report").raise_for_status()
    adapt.click()
    refusal = page.get_by_role("alert").filter(has_text="The task report is running or being stopped.")
    expect(refusal).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#quality").get_by_role("progressbar")).to_be_hidden()
    assert httpx2.get(f"{url}/tasks").json()["items"][0]["state"] == "cancelled"


def test_keys_are_created_shown_once_used_and_deleted(page: Page, url: str, browser: Browser) -> None:
    page.goto(f"{url}/operations")
    expect(page.locator("#keys")).to_contain_text("There are no keys")
    boss = create_key(page, f"boss {HOSTILE}", "admin")
    assert httpx2.get(f"{url}/stats").status_code == 401
    shop = create_key(page, "shop", "search")
    keys = page.locator("#keys li")
    expect(keys).to_have_count(2)
    expect(keys.first).to_contain_text(f"boss {HOSTILE} (this page)")
    assert boss not in page.content()
    assert page.title() != "1"
    with browser.new_context() as other:
        limited = other.new_page()
        limited.goto(f"{url}/operations")
        enter_key(limited, shop)
        expect(limited.locator("#health")).to_contain_text("Ready")
        expect(limited.locator("#model")).to_contain_text("Index version")
        assert limited.locator("main button:visible").all_inner_texts() == []
        expect(limited.locator("#keys")).to_be_hidden()
        expect(keys.nth(1)).to_contain_text("last used just now", timeout=60_000)
        page.get_by_role("button", name="Delete the key shop").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(keys).to_have_count(1)
        limited.reload()
        expect(limited.get_by_role("dialog", name="This catalogue needs an API key")).to_be_visible()
    page.get_by_role("button", name="Create a key").click()
    page.get_by_role("dialog").get_by_label("Name").fill(f"boss {HOSTILE}")
    page.get_by_role("dialog").get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text("already exists")


def test_jobs_show_progress_and_why_entries_failed(page: Page, url: str) -> None:
    page.goto(f"{url}/operations")
    expect(page.locator("#jobs")).to_contain_text("No archive has been added yet.")
    httpx2.post(f"{url}/jobs", content=zipped({"good.png": random_image(7), f"{HOSTILE[:9]}.png": b"no"}))
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    job = page.locator("#jobs li").first
    expect(job).to_contain_text("Done")
    expect(job).to_contain_text("1 created, 1 rejected")
    job.get_by_text("Why 1 entry failed").click()
    expect(job.locator(".rejections")).to_contain_text(f"{HOSTILE[:9]}.png")
    expect(job.locator(".rejections")).to_contain_text("not in a supported image format")


def test_real_report_shows_the_worst_labels_with_example_searches(page: Page, server_url: str) -> None:
    page.goto(f"{server_url}/operations")
    page.get_by_role("button", name=re.compile("Measure")).click()
    quality = page.locator("#quality")
    expect(quality.get_by_text("Labels that searches confuse most")).to_be_visible(timeout=300_000)
    shares = [float(text.partition("%")[0]) for text in quality.locator(".labels .hint").all_inner_texts()]
    assert len(shares) == 8
    assert shares == sorted(shares)
    examples = quality.locator(".examples img")
    examples.first.scroll_into_view_if_needed()
    assert examples.first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 50
    page.get_by_role("link", name=re.compile("^Search with picture")).first.click()
    expect(page).to_have_url(re.compile(r"/\?id=\d+$"))
    page.goto(f"{server_url}/operations")
    page.get_by_role("link", name="Full report").click()
    expect(page.get_by_role("heading", name="Search quality")).to_be_visible()


def operations(page: Page, address: str) -> None:
    page.goto(f"{address}/operations")
    expect(page.locator("#keys header")).to_be_visible()


def new_key(page: Page, address: str) -> None:
    operations(page, address)
    page.get_by_role("button", name="Create a key").click()
    expect(page.get_by_role("dialog")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", [operations, new_key])
def test_axe_reports_no_serious_violations(
    page: Page, url: str, scheme: Literal["light", "dark"], view: Callable[[Page, str], None]
) -> None:
    httpx2.post(f"{url}/jobs", content=zipped({"bad.png": b"no"}))
    httpx2.post(f"{url}/tasks/adapt").raise_for_status()
    page.emulate_media(color_scheme=scheme)
    view(page, url)
    page.evaluate(AXE)
    found: list[dict[str, Any]] = page.evaluate("axe.run().then(({ violations }) => violations)")
    assert [violation for violation in found if violation["impact"] in SERIOUS] == []
    for width in (360, 820, 1920):
        page.set_viewport_size({"width": width, "height": 800})
        assert horizontal_overflow(page) == 0


def test_api_docs_search_with_a_file_and_show_its_command(page: Page, url: str) -> None:
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(error.message))
    page.goto(f"{url}/docs")
    expect(page.locator("#curl")).to_have_text(f"curl -F 'image=@\"photo.jpg\"' '{url}/search?k=6'")
    page.set_input_files("#file", {"name": "it's.png", "mimeType": "image/png", "buffer": random_image(2)})
    expect(page.locator("#found li")).to_have_count(3)
    expect(page.locator("#curl")).to_contain_text("it'\\''s.png")
    assert page.locator("#found img").first.evaluate("(image) => image.decode().then(() => image.naturalWidth)") > 0
    page.set_input_files("#file", {"name": "no.png", "mimeType": "image/png", "buffer": b"not a picture"})
    expect(page.locator("#message")).to_contain_text("not in a supported image format")
    expect(page.locator("#found li")).to_have_count(0)
    expect(page.locator(".opblock")).not_to_have_count(0)
    assert errors == []


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_api_docs_follow_the_colour_scheme(page: Page, url: str, scheme: Literal["light", "dark"], dark: bool) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{url}/docs")
    tag = page.locator(".opblock-tag").first
    expect(tag).to_be_visible()
    colour = "(element) => Number(getComputedStyle(element).color.match(/\\d+/)[0])"
    assert (tag.evaluate(colour) > 128) is dark
    background = "Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])"
    assert (page.evaluate(background) < 64) is dark
    page.evaluate(AXE)
    found = page.evaluate("axe.run('#first').then(({ violations }) => violations)")
    assert [violation for violation in found if violation["impact"] in SERIOUS] == []
