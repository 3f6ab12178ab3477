"""The documentation site: all links and anchors exist, and its pages load nothing from other sites."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.external_pages import FILES, LINK
from tests.docs.pages import DOCS, NAMES, ROOT, text

# Elements that a browser fetches automatically.
FETCHED = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"'](?:https?:)?//[^>]*>")
IMPORTED = re.compile(r"(?:@import\s+|url\()\s*[\"']?(?:https?:)?//")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode, in which a missing link target or anchor is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    pages = {path.parent.relative_to(site).as_posix() for path in site.rglob("index.html")}
    wanted = {name.removesuffix(".md") for name in (*NAMES, *FILES)} - {"index"} | {"."}
    assert pages == wanted


def test_pages_load_nothing_from_other_sites(site: Path) -> None:
    fetched = {path: FETCHED.findall(path.read_text()) for path in site.rglob("*.html")}
    assert {path: found for path, found in fetched.items() if found} == {}
    assert [path for path in site.rglob("*.css") if IMPORTED.search(path.read_text())] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_existing_files(name: str) -> None:
    linked = [link["file"] for link in LINK.finditer(text(name))]
    assert [file for file in linked if not (DOCS / file).exists()] == []
