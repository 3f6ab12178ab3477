"""Adding pictures with a table of their metadata."""

import re
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.images import corners, encoded, gradient
from tests.web.steps import hold, open_start

pytestmark = pytest.mark.usefixtures("catalogue")

TABLE = """file,key,label,price,colour
pictures/1.png,own-1,boots,89.5,red
pictures/Größe 2.png,own-2,boots,70,
pictures/none.png,own-3,hats,5,blue
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with a table, two pictures that it names, one that it does not, and a long path."""
    root = tmp_path / "shop"
    long = "a-folder-with-a-name-of-many-letters/" * 3
    for number, name in enumerate(["1.png", "Größe 2.png", f"{long}extra.png"]):
        path = root / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(corners(50 + number, 40), "PNG"))
    (root / "products.csv").write_text(TABLE)
    (root / "notes.txt").write_text("no picture")
    return root


def test_a_folder_with_a_table(page: Page, shop: Path, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#folder", shop)
    expect(page.get_by_role("heading", name="Add 3 pictures")).to_be_focused()
    expect(page.locator("#add-panel")).to_contain_text("come from the table shop/products.csv. Skipped 1 file")
    page.get_by_role("button", name="Add 3 pictures").click()
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text("3 added, 1 rejected", timeout=60_000)
    rejected = page.locator("#add-panel [data-status=rejected]")
    expect(rejected).to_have_count(1)
    expect(rejected).to_have_text("line 4 of its tableThe archive has no file pictures/none.png.")
    items = catalogue.get("/images", params={"sort": "-added", "limit": 3}).json()["items"]
    found = {item["key"]: (item["label"], item["metadata"]) for item in items}
    assert found["own-1"] == ("boots", {"price": 89.5, "colour": "red"})
    assert found["own-2"] == ("boots", {"price": 70})
    (other,) = set(found) - {"own-1", "own-2"}
    assert other.endswith("letters/extra.png")
    page.get_by_role("button", name="Close").click()
    expect(page.locator("#add-panel")).to_be_hidden()


def picked(*names: str, table: str) -> list[FilePayload]:
    pictures: list[FilePayload] = [
        {"name": name, "mimeType": "image/png", "buffer": encoded(gradient(60 + number, 50), "PNG")}
        for number, name in enumerate(names)
    ]
    return [*pictures, {"name": "prices.csv", "mimeType": "text/csv", "buffer": table.encode()}]


def test_files_with_a_table_and_a_row_that_does_not_fit(page: Page, catalogue: httpx2.Client) -> None:
    open_start(page)
    page.set_input_files("#several", picked("a.png", "b.png", table="file;price\na.png;1,5\nb.png;2;3\n"))
    page.get_by_role("button", name="Add 2 pictures").click()
    expect(page.locator("#add-panel [data-status=rejected]")).to_contain_text(
        "The row has 3 values for 2 columns. Quote values that contain semicolons.", timeout=60_000
    )
    items = catalogue.get("/images", params={"sort": "-added", "limit": 2}).json()["items"]
    assert {item["key"]: item["metadata"].get("price") for item in items}["a.png"] == 1.5


def test_one_picture_with_a_table_is_added_not_searched(page: Page) -> None:
    open_start(page)
    page.set_input_files("#several", picked("a.png", table="file\na.png\n"))
    expect(page.get_by_role("heading", name="Add 1 picture")).to_be_visible()


def test_a_table_that_cannot_be_read(page: Page) -> None:
    open_start(page)
    page.set_input_files("#several", picked("a.png", table="name,name\na.png,b\n"))
    page.get_by_role("button", name="Add 1 picture").click()
    expect(page.locator("#add-panel").get_by_role("alert")).to_contain_text("metadata.csv", timeout=60_000)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_stop_during_the_upload_adds_nothing(page: Page, catalogue: httpx2.Client) -> None:
    open_start(page)
    before = catalogue.get("/jobs").json()["items"]
    held = hold(page, "**/jobs")
    page.set_input_files("#several", picked("a.png", table="file\na.png\n"))
    page.get_by_role("button", name="Add 1 picture").click()
    while not held:
        page.wait_for_timeout(20)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    assert catalogue.get("/jobs").json()["items"] == before
    page.unroute("**/jobs")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#add-panel").get_by_role("status")).to_have_text(
        re.compile("^1 (added|already added)$"), timeout=60_000
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.csv"], "a.csv is a table. Choose it together with the pictures that it names."),
        (["a.csv", "b.tsv", "c.png"], "There are 2 tables: a.csv, b.tsv. Choose the pictures with one of them."),
    ],
)
def test_tables_without_pictures_and_several_tables(page: Page, names: list[str], message: str) -> None:
    open_start(page)
    payloads: list[FilePayload] = [{"name": name, "mimeType": "", "buffer": b"x"} for name in names]
    page.set_input_files("#several", payloads)
    expect(page.locator("#message")).to_have_text(message)
    expect(page.locator("#add-panel")).to_be_hidden()
