"""Adding pictures on the page: several, a folder, one that was searched with."""

import re
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page, Route, expect

from tests.conftest import running_server
from tests.pictures import corners, encoded, gradient
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
    """Pictures, all different; one that ends in .txt is none."""
    return [
        {
            "name": name,
            "mimeType": "image/png",
            "buffer": b"no picture" if "broken" in name else encoded(gradient(60 + place, 50), "PNG"),
        }
        for place, name in enumerate(names)
    ]


def fates(page: Page) -> list[str]:
    return page.locator(".queue .fate").all_inner_texts()


def add(page: Page) -> None:
    page.get_by_role("button", name=re.compile(r"^Add (\d+|the other)")).click()


def test_several_are_added_and_a_broken_one_says_why(page: Page, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#several", files("one.png", "broken.png", "three.png"))
    expect(page.get_by_role("heading", name="Add 3 pictures")).to_be_focused()
    assert fates(page) == ["waiting"] * 3
    page.get_by_label("Label for all").fill("own")
    add(page)
    expect(page.locator("#adding").get_by_role("status")).to_have_text("2 added, 1 rejected")
    told = fates(page)
    assert (told[0], told[2]) == ("added", "added")
    assert re.match(r"rejected: .+\.", told[1])
    found = catalogue.get("/images", params={"label": "own"}).json()["items"]
    assert [picture["metadata"] for picture in found] == [{"file": "one.png"}, {"file": "three.png"}]
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#adding")).to_be_hidden()


def test_the_same_again_is_there_already(page: Page) -> None:
    open_start(page)
    for sums in ("2 added", "2 there already"):
        page.set_input_files("#several", files("one.png", "two.png"))
        add(page)
        expect(page.locator("#adding").get_by_role("status")).to_have_text(sums)


def test_dropping_several_offers_to_add_them(page: Page) -> None:
    open_start(page)
    page.evaluate(DROP, ["one.png", "two.png"])
    expect(page.get_by_role("heading", name="Add 2 pictures")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#adding")).to_be_hidden()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "mine"
    for place, name in enumerate(["boots/1.png", "boots/2.png", "hats/deep/3.png", "4.png"]):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(corners(50 + place, 40), "PNG"))
    (root / "notes.txt").write_text("no picture")
    (root / ".hidden").write_bytes(b"")
    return root


def test_a_folder_labels_by_its_folders(page: Page, folder: Path, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#folder", folder)
    expect(page.get_by_role("heading", name="Add 4 pictures")).to_be_visible()
    expect(page.locator("#adding")).to_contain_text("2 other files are left out")
    expect(page.get_by_role("checkbox", name="Label each")).to_be_checked()
    add(page)
    expect(page.locator("#adding").get_by_role("status")).to_have_text("4 added")
    wanted = {
        "mine/boots/1.png": "boots",
        "mine/boots/2.png": "boots",
        "mine/hats/deep/3.png": "deep",
        "mine/4.png": "mine",
    }
    for key, label in wanted.items():
        found = catalogue.get("/images", params={"filter": f'{{"key": "{key}"}}'}).json()["items"]
        assert [picture["label"] for picture in found] == [label]


def test_a_dropped_folder_is_read_with_what_lies_in_it(page: Page, context: BrowserContext, folder: Path) -> None:
    open_start(page)
    session = context.new_cdp_session(page)
    data = {"items": [], "files": [str(folder)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 200, "data": data})
    expect(page.get_by_role("heading", name="Add 4 pictures")).to_be_visible()
    expect(page.locator(".queue li").filter(has_text="mine/hats/deep/3.png")).to_have_count(1)


def test_one_label_for_all_instead_of_folders(page: Page, folder: Path, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#folder", folder)
    page.get_by_role("checkbox", name="Label each").uncheck()
    page.get_by_label("Label for all").fill("things")
    add(page)
    expect(page.locator("#adding").get_by_role("status")).to_have_text("4 added")
    assert len(catalogue.get("/images", params={"label": "things"}).json()["items"]) == 4


def test_what_was_added_is_found_and_shown(page: Page) -> None:
    page.goto("/?label=own")
    expect(page.locator("#heading")).to_have_text("No picture passes your filters")
    page.set_input_files("#several", files("one.png"))
    page.get_by_label("Label for all").fill("own")
    add(page)
    expect(page.locator("#heading")).to_have_text("What passes your filters")
    expect(page.locator(".tile")).to_have_count(1)


def test_a_stop_lets_the_request_under_way_finish_and_the_rest_can_follow(page: Page) -> None:
    open_start(page)
    held = hold(page, "**/index")
    page.set_input_files("#several", files(*(f"{number}.png" for number in range(12))))
    add(page)
    expect(page.locator("[data-fate=sent]")).to_have_count(8)
    expect(page.locator("[data-fate=waiting]")).to_have_count(4)
    page.get_by_role("button", name="Stop").click()
    held[0].continue_()
    expect(page.locator("#adding").get_by_role("status")).to_have_text("8 added")
    page.unroute("**/index")
    expect(page.locator("[data-fate=waiting]")).to_have_count(4)
    page.get_by_role("button", name="Add the other 4").click()
    expect(page.locator("#adding").get_by_role("status")).to_have_text("12 added")


def test_a_service_that_is_gone_keeps_the_rest_to_be_sent_again(page: Page) -> None:
    open_start(page)
    page.route("**/index", lambda route: route.abort())
    page.set_input_files("#several", files("one.png", "two.png"))
    add(page)
    expect(page.locator("#adding").get_by_role("alert")).to_contain_text("does not answer")
    assert fates(page) == ["not added"] * 2
    page.unroute("**/index")
    add(page)
    expect(page.locator("#adding").get_by_role("status")).to_have_text("2 added")


def large_files(*bytes_: int) -> list[FilePayload]:
    """Pictures of about these sizes, all different."""
    width = 100
    pictures = [gradient(width, size // (3 * width) + place) for place, size in enumerate(bytes_)]
    return [
        {"name": f"{place}.png", "mimeType": "image/png", "buffer": encoded(picture, "PNG", compress_level=0)}
        for place, picture in enumerate(pictures)
    ]


def test_what_is_too_large_keeps_nothing_else_from_being_added(browser: Browser, tmp_path: Path) -> None:
    small = {"LOOKALIKE_DEMO": "off", "LOOKALIKE_MAX_REQUEST_BYTES": "100000"}
    with running_server(tmp_path / "data", **small) as (url, _), browser.new_context(base_url=url) as context:
        page = context.new_page()
        page.goto("/")
        page.set_input_files("#several", large_files(*[30_000] * 4, 120_000, *[30_000] * 5))
        add(page)
        expect(page.locator("#adding").get_by_role("status")).to_have_text("9 added, 1 not added")
        told = fates(page)
        assert told.pop(4).startswith("not added: The request is larger than 100,000 bytes")
        assert told == ["added"] * 9
        expect(page.locator("#adding .trouble")).to_be_empty()
        page.get_by_role("button", name="Add the other 1").click()
        expect(page.locator("#adding").get_by_role("status")).to_have_text("9 added, 1 not added")
        assert httpx2.get(f"{url}/stats").json()["images"] == 9


def test_a_slow_line_takes_less_at_a_time(browser: Browser, tmp_path: Path) -> None:
    impatient = {"LOOKALIKE_DEMO": "off", "LOOKALIKE_REQUEST_READ_TIMEOUT_SECONDS": "3"}
    with running_server(tmp_path / "data", **impatient) as (url, _), browser.new_context(base_url=url) as context:
        page = context.new_page()
        page.goto("/")
        page.set_input_files("#several", large_files(200_000, 200_000, 1_200_000, 200_000))
        line = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
        context.new_cdp_session(page).send("Network.emulateNetworkConditions", line)
        add(page)
        summary = page.locator("#adding").get_by_role("status")
        expect(summary).to_have_text("3 added, 1 not added", timeout=120_000)
        assert fates(page)[2].startswith("not added: The request did not arrive within 3 s.")


def test_only_so_much_is_sent_at_a_time_as_a_slow_line_can_carry(page: Page) -> None:
    open_start(page)
    sent: list[int] = []

    def take(route: Route) -> None:
        sent.append(page.locator("[data-fate=sent]").count())
        route.fulfill(json={"items": [{"status": "created", "error": None}] * sent[-1]})

    page.route("**/index", take)
    page.set_input_files("#several", large_files(7_000_000, *[2_500_000] * 3))
    add(page)
    expect(page.locator("#adding").get_by_role("status")).to_have_text("4 added")
    assert sent == [1, 2, 1]


def test_a_picture_that_was_searched_with_can_be_added(page: Page) -> None:
    open_start(page)
    page.set_input_files("#file", files("searched.png"))
    page.get_by_role("button", name="Add it to the catalogue").click()
    expect(page.get_by_role("heading", name="Add 1 picture")).to_be_visible()
    add(page)
    expect(page.locator("#adding").get_by_role("status")).to_have_text("1 added")
    expect(page.locator(".tile").first).to_contain_text("searched.png")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [(["a.txt", "b.txt"], "None of these 2 files is a picture."), (["a.txt"], "a.txt is not a picture.")],
)
def test_what_is_no_picture_is_not_offered(page: Page, names: list[str], sentence: str) -> None:
    open_search(page)
    texts: list[FilePayload] = [{"name": name, "mimeType": "text/plain", "buffer": b"x"} for name in names]
    page.set_input_files("#several", texts)
    expect(page.locator("#message")).to_have_text(sentence)
    expect(page.locator("#adding")).to_be_hidden()


@pytest.fixture
def context(page: Page) -> BrowserContext:
    return page.context
