"""Searches as programs: quoting, and that curl, Python and JavaScript run them for real."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from playwright.sync_api import Browser, Page, expect

from app.settings import Settings
from tests.api.server import serve
from tests.api.test_index import random_image
from tests.web.conftest import TIMEOUT_MS

MODULE = "/web/snippets/snippets.js"
HOSTILE_NAMES = [
    "photo.jpg",
    'it\'s "a" $(touch hacked) `touch hacked` \\ ;type=text-x, ümläut 鞋.jpg',
    "-",
    "--help",
    "@photo.jpg",
    "<photo.jpg",
    "a;b,c=d&e%20.jpg",
    "two\nlines\\n${1}.jpg",
    "'; touch hacked; '",
    "\u2028 and \u202egpj.jpg",
]
FILTER = {"note": 'it\'s "quoted" \\ \u2028 ümläut', "price": {"$lte": 9007199254740993}, "sale": {"$ne": True}}


def write(page: Page, name: str, request: dict[str, Any], parameters: dict[str, str]) -> str:
    """Return a search as a program."""
    page.goto("/operations")
    program = """async ([module, name, request, parameters]) => {
        const { [name]: write } = await import(module);
        return write({ ...request, parameters: new URLSearchParams(parameters) });
    }"""
    text: str = page.evaluate(program, [MODULE, name, request, parameters])
    return text


@pytest.fixture
def page(browser: Browser, settings: Settings) -> Iterator[Page]:
    """A page of a service with six images."""
    with serve(settings) as server, browser.new_context(base_url=server.url) as context:
        context.set_default_timeout(TIMEOUT_MS)
        metadata = json.dumps([{"key": f"key-{number}", "label": "mug"} for number in range(1, 7)])
        files = [("images", (f"{number}.png", random_image(number))) for number in range(1, 7)]
        httpx2.post(f"{server.url}/index", files=files, data={"metadata": metadata}).raise_for_status()
        yield context.new_page()


@pytest.fixture
def picture() -> bytes:
    """The file of the fifth image, which finds itself."""
    return random_image(5)


def run_curl(text: str, folder: Path, name: str = "results") -> list[Any]:
    command = ["sh", "-c", f"{text} --silent --show-error --fail-with-body"]
    ended = subprocess.run(command, cwd=folder, env=keyed(), capture_output=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stderr
    found: list[Any] = json.loads(ended.stdout)[name]
    return [image["key"] for image in found]


def run_python(text: str, folder: Path) -> list[Any]:
    return printed_keys([sys.executable, "-c", text], folder)


def run_javascript(text: str, folder: Path, page: Page) -> list[Any]:
    """Run a program with Node; without Node in the browser, with the folder's files in place of those of Node."""
    if (node := shutil.which("node")) is not None:
        (folder / "program.mjs").write_text(text)
        return printed_keys([node, "program.mjs"], folder)
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text))
    files = {path.name: list(path.read_bytes()) for path in folder.iterdir()}
    imports = (
        f"const files = {json.dumps(files)}, openAsBlob = async (name) => new Blob([new Uint8Array(files[name])]);"
    )
    body = text.removeprefix('import { openAsBlob } from "node:fs";')
    page.evaluate(f"async () => {{ {imports}\n{body} }}")
    return [line.split()[1] for line in lines]


def printed_keys(command: list[str], folder: Path) -> list[Any]:
    """Run a program that prints similarity, key and label of each match; return the keys."""
    ended = subprocess.run(command, cwd=folder, env=keyed(), capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return [line.split()[1] for line in ended.stdout.splitlines()]


def keyed() -> dict[str, str]:
    return os.environ | {"LOOKALIKE_API_KEY": "lk_1_unused"}


@pytest.mark.parametrize("needs_key", [False, True])
def test_search_by_upload_runs_in_all_three(page: Page, picture: bytes, tmp_path: Path, needs_key: bool) -> None:
    (tmp_path / "photo.png").write_bytes(picture)
    parameters = {
        "k": "3",
        "mode": "es",
        "explain": "true",
        "crop": "1,2,12,11",
        "filter": '{"$not": {"price": 7}}',
    }
    request = {"files": ["photo.png"], "needsKey": needs_key}
    texts = {name: write(page, f"{name}Snippet", request, parameters) for name in ("curl", "python", "javascript")}
    assert all(("LOOKALIKE_API_KEY" in text) is needs_key for text in texts.values())
    form = {"image": {"name": "photo.png", "mimeType": "image/png", "buffer": picture}}
    found = page.request.post(f"/search?{urlencode(parameters)}", multipart=form).json()["results"]  # type: ignore[arg-type]  # a file payload
    wanted = [match["key"] for match in found]
    assert len(wanted) == 3
    assert run_curl(texts["curl"], tmp_path) == wanted
    assert run_python(texts["python"], tmp_path) == wanted
    assert run_javascript(texts["javascript"], tmp_path, page) == wanted


def test_search_by_id_runs_in_all_three(page: Page, tmp_path: Path) -> None:
    parameters = {"k": "4", "label": "mug", "radius": "64", "asymmetric": "false"}
    texts = {
        name: write(page, f"{name}Snippet", {"like": [5]}, parameters) for name in ("curl", "python", "javascript")
    }
    found = page.request.get("/images/5/similar", params=urlencode(parameters)).json()["results"]
    wanted = [match["key"] for match in found]
    assert len(wanted) == 4
    assert run_curl(texts["curl"], tmp_path) == wanted
    assert run_python(texts["python"], tmp_path) == wanted
    assert run_javascript(texts["javascript"], tmp_path, page) == wanted


def test_search_by_words_runs_in_all_three(page: Page, tmp_path: Path) -> None:
    parameters = {"text": "mug -absent", "sort": "-key", "filter": '{"$not": {"price": 7}}'}
    texts = {
        name: write(page, f"{name}Snippet", {"listed": True}, parameters) for name in ("curl", "python", "javascript")
    }
    found = page.request.get("/images", params=urlencode(parameters)).json()["items"]
    wanted = [image["key"] for image in found]
    assert wanted == [f"key-{number}" for number in range(6, 0, -1)]
    assert run_curl(texts["curl"], tmp_path, "items") == wanted
    assert run_python(texts["python"], tmp_path) == wanted
    assert run_javascript(texts["javascript"], tmp_path, page) == wanted


def test_each_search_of_the_page_has_its_programs(page: Page, picture: bytes) -> None:
    def program() -> str:
        expect(page.locator("body")).not_to_have_class(re.compile("busy"))
        if not page.locator("#details").is_visible():
            page.get_by_role("button", name="Details", exact=True).click()
        for name in ("Python", "JavaScript", "curl"):
            page.get_by_role("button", name=f"Copy as {name}").click()
            expect(page.locator("#snippets pre")).to_be_visible()
        return page.locator("#snippets pre").inner_text()

    page.goto("/")
    expect(page.get_by_role("button", name="Details", exact=True)).to_be_hidden()
    page.get_by_role("searchbox", name="Search by words").fill("mug")
    expect(page.locator("#heading")).to_have_text("6 pictures match")
    assert re.fullmatch(r"curl 'http://[^/]+/images\?text=mug&sort=mixed'", program())
    expect(page.get_by_role("radio", name="Exact")).to_be_hidden()
    page.set_input_files("#file", {"name": "photo.png", "mimeType": "image/png", "buffer": picture})
    expect(page.locator("#query")).to_contain_text("photo.png")
    assert "-F 'image=@\"photo.png\"'" in program()
    expect(page.get_by_role("radio", name="Exact")).to_be_visible()
    page.goto("/?id=5")
    expect(page.locator("#query .crop-button")).to_be_visible()
    assert "/images/5/similar?" in program()


def test_hostile_file_names_are_quoted(page: Page, picture: bytes, tmp_path: Path) -> None:
    for number, name in enumerate(HOSTILE_NAMES):
        folder = tmp_path / str(number)
        folder.mkdir()
        # A file name has no slash; everything else is a file of that name.
        (folder / name).write_bytes(picture)
        request, parameters = {"files": [name]}, {"k": "1"}
        for kind, run in (("curl", run_curl), ("python", run_python)):
            (key,) = run(write(page, f"{kind}Snippet", request, parameters), folder)
            assert key == "key-5", (kind, name)
        (key,) = run_javascript(write(page, "javascriptSnippet", request, parameters), folder, page)
        assert key == "key-5", name
        assert not (folder / "hacked").exists()


def test_python_values_equal_those_of_the_search(page: Page) -> None:
    parameters = {"k": "3", "label": "true", "filter": json.dumps(FILTER), "group_by": "a 'b'", "radius": "9"}
    request = {"files": ["a.jpg", "b.jpg"], "unlikeFiles": ["c.jpg"], "like": [17, 4], "unlike": [9]}
    tree = ast.parse(write(page, "pythonSnippet", request, parameters))
    (call,) = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "catalogue.search"
    ]
    values = {word.arg: ast.unparse(word.value) for word in call.keywords}
    assert ast.unparse(call.args[0]) == "'a.jpg'"
    assert (values["like"], values["unlike"]) == ("[Path('b.jpg'), 17, 4]", "[Path('c.jpg'), 9]")
    assert ast.literal_eval(values["filter"]) == FILTER
    assert ast.literal_eval(values["label"]) == "true"
    assert (values["k"], values["radius"], ast.literal_eval(values["group_by"])) == ("3", "9", "a 'b'")


def test_examples_by_id_are_sent_as_json(page: Page) -> None:
    request = {"like": [17, "4"], "unlike": [9]}
    curl, javascript = (write(page, f"{name}Snippet", request, {"k": "3"}) for name in ("curl", "javascript"))
    body = '{"like":[17,4],"unlike":[9]}'
    assert f"-d '{body}'" in curl
    assert f"JSON.stringify({body})" in javascript


def test_buttons_copy_and_show_the_program(page: Page) -> None:
    page.goto("/operations")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    show = """async (module) => {
        const { snippetButtons } = await import(module);
        document.body.replaceChildren(snippetButtons({ files: ["a.jpg"], parameters: new URLSearchParams("k=3") }));
    }"""
    page.evaluate(show, MODULE)
    for name in ("curl", "Python", "JavaScript"):
        page.get_by_role("button", name=f"Copy as {name}").click()
        page.get_by_text("Copied.").wait_for()
        shown = page.locator("pre").inner_text()
        assert page.evaluate("navigator.clipboard.readText()").strip() == shown.strip()
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); }")
    page.get_by_role("button", name="Copy as curl").click()
    page.get_by_text("Select the text and copy it.").wait_for()
