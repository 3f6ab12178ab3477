"""Adding pictures on the page: several files, a folder, the query picture."""

import re
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page, Route, expect

from tests.conftest import running_server
from tests.images import corners, encoded, gradient
from tests.web.steps import hold, open_search, open_start

DROP = """
async (names) => {
  const transfer = new DataTransfer();
  for (const name of names) {
    const canvas = Object.assign(document.createElement("canvas"), { width: 60, height: 40 });
    canvas.getContext("2d").fillText(name, 5, 20);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve));
    transfer.items.add(new File([blob], name, { type: "image/png" }));
  }
  document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: transfer }));
}
"""

pytestmark = pytest.mark.usefixtures("catalogue")


def files(*names: str) -> list[FilePayload]:
    """Return distinct pictures; a name with "broken" gets invalid content."""
    return [
        {
            "name": name,
            "mimeType": "image/png",
            "buffer": b"no picture" if "broken" in name else encoded(gradient(60 + index, 50), "PNG"),
        }
        for index, name in enumerate(names)
    ]


def statuses(page: Page) -> list[str]:
    found: list[str] = page.locator(".queue li").evaluate_all("(rows) => rows.map((row) => row.dataset.status)")
    return found


def add(page: Page) -> None:
    page.get_by_role("button", name=re.compile(r"^Add (\d+|the remaining)")).click()


def test_adding_several_files_reports_the_status_of_each(page: Page, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#several", files("one.png", "broken.png", "three.png"))
    expect(page.get_by_role("heading", name="Add 3 pictures")).to_be_focused()
    assert statuses(page) == ["waiting"] * 3
    page.get_by_label("Label for all").fill("own")
    add(page)
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("2 added, 1 rejected")
    assert statuses(page) == ["created", "rejected", "created"]
    expect(page.locator("[data-status=rejected]")).to_have_text(re.compile(r"rejected: .+\."))
    found = catalogue.get("/images", params={"label": "own"}).json()["items"]
    assert [picture["metadata"] for picture in found] == [{"file": "one.png"}, {"file": "three.png"}]
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#add-panel")).to_be_hidden()


def test_adding_the_same_files_again_reports_them_as_unchanged(page: Page) -> None:
    open_start(page)
    for summary in ("2 added", "2 already added"):
        page.set_input_files("#several", files("one.png", "two.png"))
        add(page)
        expect(page.locator("#add-panel").get_by_role("status")).to_have_text(summary)


def test_dropping_several_files_opens_the_add_panel(page: Page) -> None:
    open_start(page)
    page.evaluate(DROP, ["one.png", "two.png"])
    expect(page.get_by_role("heading", name="Add 2 pictures")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#add-panel")).to_be_hidden()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for index, name in enumerate(["boots/1.png", "boots/2.png", "hats/deep/3.png", "4.png"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(corners(50 + index, 40), "PNG"))
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden").write_bytes(b"")
    return root


def test_adding_a_folder_uses_folder_names_as_labels(page: Page, folder: Path, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#folder", folder)
    expect(page.get_by_role("heading", name="Add 4 pictures")).to_be_visible()
    expect(page.locator("#add-panel")).to_contain_text("Skipped 2 files")
    expect(page.get_by_role("checkbox", name="Use folder names")).to_be_checked()
    add(page)
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("4 added")
    wanted = {
        "mine/boots/1.png": "boots",
        "mine/boots/2.png": "boots",
        "mine/hats/deep/3.png": "deep",
        "mine/4.png": "mine",
    }
    for key, label in wanted.items():
        found = catalogue.get("/images", params={"filter": f'{{"key": "{key}"}}'}).json()["items"]
        assert [picture["label"] for picture in found] == [label]


def test_dropping_a_folder_reads_its_subfolders(page: Page, context: BrowserContext, folder: Path) -> None:
    open_start(page)
    session = context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    expect(page.get_by_role("heading", name="Add 4 pictures")).to_be_visible()
    expect(page.locator(".queue li").filter(has_text="mine/hats/deep/3.png")).to_have_count(1)


def test_one_label_for_all_replaces_folder_names(page: Page, folder: Path, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#folder", folder)
    page.get_by_role("checkbox", name="Use folder names").uncheck()
    page.get_by_label("Label for all").fill("things")
    add(page)
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("4 added")
    assert len(catalogue.get("/images", params={"label": "things"}).json()["items"]) == 4


def test_added_pictures_appear_in_the_current_view(page: Page) -> None:
    page.goto("/?label=own")
    expect(page.locator("#heading")).to_have_text("No pictures match")
    page.set_input_files("#several", files("one.png"))
    page.get_by_label("Label for all").fill("own")
    add(page)
    expect(page.locator("#heading")).to_have_text("1 picture matches")
    expect(page.locator(".tile")).to_have_count(1)


def test_stop_finishes_the_current_request_and_the_rest_can_be_added_later(page: Page) -> None:
    open_start(page)
    held = hold(page, "**/index")
    page.set_input_files("#several", files(*(f"{number}.png" for number in range(12))))
    add(page)
    expect(page.locator("[data-status=sent]")).to_have_count(8)
    expect(page.locator("[data-status=waiting]")).to_have_count(4)
    page.get_by_role("button", name="Stop").click()
    held[0].continue_()
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("8 added")
    page.unroute("**/index")
    expect(page.locator("[data-status=waiting]")).to_have_count(4)
    page.get_by_role("button", name="Add the remaining 4").click()
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("12 added")


def test_failed_uploads_can_be_retried(page: Page) -> None:
    open_start(page)
    page.route("**/index", lambda route: route.abort())
    page.set_input_files("#several", files("one.png", "two.png"))
    add(page)
    expect(page.locator("#add-panel").get_by_role("alert")).to_contain_text("does not respond")
    assert statuses(page) == ["failed"] * 2
    page.unroute("**/index")
    add(page)
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("2 added")


def large_files(*bytes_: int) -> list[FilePayload]:
    """Return distinct pictures of about the given sizes."""
    width = 100
    pictures = [gradient(width, size // (3 * width) + index) for index, size in enumerate(bytes_)]
    return [
        {"name": f"{index}.png", "mimeType": "image/png", "buffer": encoded(picture, "PNG", compress_level=0)}
        for index, picture in enumerate(pictures)
    ]


def test_a_file_above_the_size_limit_does_not_affect_other_files(browser: Browser, tmp_path: Path) -> None:
    settings = {"LOOKALIKE_DEMO": "off", "LOOKALIKE_MAX_REQUEST_BYTES": "100000"}
    with running_server(tmp_path / "data", **settings) as (url, _), browser.new_context(base_url=url) as context:
        page = context.new_page()
        page.goto("/")
        page.set_input_files("#several", large_files(*[30_000] * 4, 120_000, *[30_000] * 5))
        add(page)
        expect(page.locator("#add-panel").get_by_role("status")).to_have_text("9 added, 1 not added")
        expect(page.locator(".queue li").nth(4)).to_contain_text("The request is larger than 100,000 bytes")
        assert statuses(page) == [*["created"] * 4, "failed", *["created"] * 5]
        expect(page.locator("#add-panel .error")).to_be_empty()
        page.get_by_role("button", name="Add the remaining 1").click()
        expect(page.locator("#add-panel").get_by_role("status")).to_have_text("9 added, 1 not added")
        assert httpx2.get(f"{url}/stats").json()["images"] == 9


def test_request_timeouts_reduce_the_batch_size(browser: Browser, tmp_path: Path) -> None:
    settings = {"LOOKALIKE_DEMO": "off", "LOOKALIKE_REQUEST_READ_TIMEOUT_SECONDS": "3"}
    with running_server(tmp_path / "data", **settings) as (url, _), browser.new_context(base_url=url) as context:
        page = context.new_page()
        page.goto("/")
        page.set_input_files("#several", large_files(200_000, 200_000, 1_200_000, 200_000))
        slow_network = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
        context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow_network)
        add(page)
        summary = page.locator("#add-panel").get_by_role("status")
        expect(summary).to_have_text("3 added, 1 not added", timeout=120_000)
        expect(page.locator(".queue li").nth(2)).to_contain_text("The request did not arrive within 3 s.")


def test_batches_are_limited_in_bytes(page: Page) -> None:
    open_start(page)
    sent: list[int] = []

    def fulfil(route: Route) -> None:
        sent.append(page.locator("[data-status=sent]").count())
        route.fulfill(json={"items": [{"status": "created", "error": None, "warnings": []}] * sent[-1]})

    page.route("**/index", fulfil)
    page.set_input_files("#several", large_files(7_000_000, *[2_500_000] * 3))
    add(page)
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("4 added")
    assert sent == [1, 2, 1]


def test_an_uploaded_query_picture_can_be_added(page: Page) -> None:
    open_start(page)
    page.set_input_files("#file", files("searched.png"))
    expect(page.locator("#query")).to_contain_text("the link cannot be shared")
    page.get_by_role("button", name="Add to the catalogue").click()
    expect(page.locator(".toast")).to_contain_text("can be shared")
    expect(page).to_have_url(re.compile(r"\?id=\d+$"))
    expect(page.locator("#query .title")).to_have_text("searched.png")


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a.txt", "b.txt"], "None of the 2 files is a picture."), (["a.txt"], "a.txt is not a picture.")],
)
def test_files_that_are_not_pictures_are_rejected(page: Page, names: list[str], message: str) -> None:
    open_search(page)
    texts: list[FilePayload] = [{"name": name, "mimeType": "text/plain", "buffer": b"x"} for name in names]
    page.set_input_files("#several", texts)
    expect(page.locator("#message")).to_have_text(message)
    expect(page.locator("#add-panel")).to_be_hidden()


@pytest.fixture
def context(page: Page) -> BrowserContext:
    return page.context
