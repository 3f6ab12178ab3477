"""Scripts and styles of the pages: hashed URLs, caching, compression, size."""

import gzip
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.api.pages import PAGES, WEB_DIR
from app.api.web_files import WebFiles
from app.main import create_app
from app.settings import Settings
from tests.conftest import open_with_fake

# Of all scripts and styles of a page, as they are sent.
MAX_BYTES = 60_000
# Runs before the first paint, so it is no part of the module.
FIRST_SCRIPT = "/navigation/first-view.js"
FOR_EVER = "public, max-age=31536000, immutable"


def urls(html: str) -> list[str]:
    """List the URLs of a page's files, in its order."""
    return re.findall(r'(?:href|src)="([^"]*/web/[^"]+)"', html)


@pytest.mark.parametrize("page", PAGES.values())
def test_scripts_and_styles_of_a_page_are_small(page: str) -> None:
    files = WebFiles(WEB_DIR).files
    assert len(files[f"{page}.js"].compressed) + len(files[f"{page}.css"].compressed) < MAX_BYTES


@pytest.mark.parametrize("page", PAGES)
def test_files_of_a_page_are_cached_for_ever_under_names_with_a_hash(client: TestClient, page: str) -> None:
    answer = client.get(page)
    assert answer.headers["cache-control"] == "no-cache"
    found = urls(answer.text)
    assert found
    for url in found:
        assert re.fullmatch(r"/web/[0-9a-f]{16}/[\w./-]+", url)
        file = client.get(url)
        assert (file.status_code, file.headers["cache-control"]) == (200, FOR_EVER)
        assert file.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize("page", PAGES)
def test_a_page_loads_one_module_and_one_style(client: TestClient, page: str) -> None:
    files = [url for url in urls(client.get(page).text) if not url.endswith((".svg", FIRST_SCRIPT))]
    assert [url.rpartition(".html")[2] for url in files] == [".css", ".js"]


def test_styles_of_a_page_are_one_file_in_its_order(client: TestClient) -> None:
    (url,) = re.findall(r'<link rel="stylesheet" href="([^"]+)"', client.get("/").text)
    names = re.findall(r'<link rel="stylesheet" href="/web/([^"]+)"', (WEB_DIR / "index.html").read_text())
    assert client.get(url).text == "".join(client.get(f"/web/{name}").text for name in names)
    # They are merged from several folders, so a relative URL would be another one.
    assert not re.findall(r"url\((?!.data:)", client.get(url).text)


def test_pages_are_compressed_and_below_the_root_path(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"root_path": "/shop"}), open_with_fake)) as client:
        answer = client.get("/shop/")
        assert answer.headers["content-encoding"] == "gzip"
        assert all(url.startswith("/shop/web/") for url in urls(answer.text))
        assert client.get(urls(answer.text)[0]).status_code == 200


@pytest.mark.parametrize("folder", ["", "0123456789abcdef/"])
def test_other_urls_have_the_current_file_and_are_revalidated(client: TestClient, folder: str) -> None:
    current = f"/web/{WebFiles(WEB_DIR).version}/app.js"
    answer = client.get(f"/web/{folder}app.js")
    assert answer.content == client.get(current).content
    assert answer.headers["cache-control"] == "no-cache"
    again = client.get(f"/web/{folder}app.js", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["none.js", "index.html", "../main.py", "%2e%2e/main.py", "", "app.js/", "add"])
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    version = WebFiles(WEB_DIR).version
    assert client.get(f"/web/{path}").status_code == 404
    assert client.get(f"/web/{version}/{path}").status_code == 404


def test_only_reading_is_allowed(client: TestClient) -> None:
    answer = client.post("/web/app.js")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("identity, gzip;q=0", False),
        ("*;q=0", False),
        ("gzip ; q=0.00, *", False),
    ],
)
@pytest.mark.parametrize("path", ["/", "/web/app.js"])
def test_compression_is_negotiated(client: TestClient, path: str, accepted: str, compressed: bool) -> None:
    plain = client.get(path, headers={"Accept-Encoding": "identity"})
    answer = client.get(path, headers={"Accept-Encoding": accepted})
    assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert answer.content == plain.content
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (answer.headers["etag"] != plain.headers["etag"]) == compressed
    head = client.head(path, headers={"Accept-Encoding": accepted})
    assert head.headers["content-length"] == answer.headers["content-length"]
    # A tag of one encoding does not match the other.
    other = client.get(path, headers={"Accept-Encoding": accepted, "If-None-Match": plain.headers["etag"]})
    assert other.status_code == (200 if compressed else 304)


def test_a_range_is_answered_with_the_whole_file(client: TestClient) -> None:
    whole = client.get("/web/app.js")
    part = client.get("/web/app.js", headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content) == (200, whole.content)


def test_the_hash_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text('<script type="module" src="/web/app.js"></script>\n  </head>')
    (tmp_path / "app.js").write_text('import { one } from "./a/one.js";\n')
    (tmp_path / "a" / "one.js").write_text("export const one = 1;\n")
    before = WebFiles(tmp_path)
    (tmp_path / "a" / "one.js").write_text("export const one = 2;\n")
    after = WebFiles(tmp_path)
    assert before.version != after.version
    assert f'<script type="module" src="/x/web/{after.version}/index.html.js">' in after.page("index.html", "/x").text


def test_comments_on_their_own_lines_and_types_are_not_sent_and_nothing_else_changes(tmp_path: Path) -> None:
    code = 'const url = "https://x"; // kept\nconst glob = "/*";\nconst star = a\n  * b;\n'
    typed = f'/** @type {{A}} */ (c).d(/** @type {{\n  B}} */ (e));\n{code}const end = "*/";\n'
    (tmp_path / "app.js").write_text(f"/**\n * Gone.\n */\n{typed}  // gone\n/* gone */\nlast();\n")
    sent = WebFiles(tmp_path).files["app.js"]
    assert sent.content.decode() == f'(c).d((e));\n{code}const end = "*/";\nlast();\n'
    assert gzip.decompress(sent.compressed) == sent.content


def test_indentation_of_styles_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "style.css").write_text("a {\n  color: red;\n}\n")
    assert WebFiles(tmp_path).files["style.css"].content == b"a {\ncolor: red;\n}\n"


TOKEN = re.compile(r"""//[^\n]*|/\*[\s\S]*?\*/|'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`""")


@pytest.mark.parametrize("path", sorted(WEB_DIR.rglob("*.js")), ids=lambda path: path.name)
def test_no_text_of_a_script_has_a_line_that_looks_like_a_comment(path: Path) -> None:
    texts = [token for token in TOKEN.findall(path.read_text()) if token.startswith("`")]
    assert not [text for text in texts if re.search(r"\n[ \t]*(//|/\*)", text)]
