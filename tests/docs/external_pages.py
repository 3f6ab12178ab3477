"""MkDocs hooks that add pages from outside docs/, such as the README, and rewrite links to them.

Links in Markdown are relative paths in the repository, so that they also work when it is browsed there; in the site
they lead to the pages generated from those files.
"""

import re
from pathlib import Path
from posixpath import dirname, normpath, relpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = "docs/"
# Pages of the site by file in the repository.
PAGES = {
    "README.md": "project/readme.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "THIRD_PARTY.md": "project/third-party.md",
    "clients/python/README.md": "project/python-client.md",
    "docker/README.md": "project/docker.md",
    "models/pretrained/general-small.md": "project/general-small.md",
    "models/pretrained/general-large.md": "project/general-large.md",
    "models/pretrained/general.md": "project/general.md",
    "models/pretrained/clothing.md": "project/clothing.md",
}
# The service's icon, for the theme in tests/docs/theme.
ICON = "icon.svg"
FILES = {page: file for file, page in PAGES.items()}
# Target of a Markdown link: a file and an optional anchor. Targets with a colon are URLs.
LINK = re.compile(r"(?<=\]\()(?P<file>[^)#:\s]+)(?P<place>#[^)\s]+)?(?=\))")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages to those under docs/, and the icon."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    for file, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(root / file)))
    files.append(File.generated(config, ICON, abs_src_path=str(root / "app" / "web" / ICON)))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Rewrite a page's links to pages of the site."""
    here = page.file.src_uri
    return LINK.sub(lambda link: in_site(here, link["file"]) + (link["place"] or ""), markdown)


def in_site(here: str, linked: str) -> str:
    """Convert a link between files of the repository to one between pages of the site."""
    file = normpath(f"{dirname(FILES.get(here, DOCS + here))}/{linked}".lstrip("/"))
    page = PAGES.get(file, file.removeprefix(DOCS))
    return relpath(page, dirname(here) or ".")
