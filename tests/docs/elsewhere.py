"""What MkDocs is told of the pages that lie elsewhere in the repository, such as the README.

Links in Markdown name files as they lie in the repository, so that they lead somewhere when it is looked at there; in
the site they lead to the pages made of those files.
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
# By where they lie.
PAGES = {
    "README.md": "project/readme.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "THIRD_PARTY.md": "project/third-party.md",
    "clients/python/README.md": "project/python-client.md",
    "docker/README.md": "project/docker.md",
    "models/pretrained/general.md": "project/general.md",
    "models/pretrained/clothing.md": "project/clothing.md",
}
FILES = {page: file for file, page in PAGES.items()}
# Words in brackets, a file, perhaps a place in it. What has a colon is an address.
LINK = re.compile(r"(?<=\]\()(?P<file>[^)#:\s]+)(?P<place>#[^)\s]+)?(?=\))")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Adds the pages to those under docs/."""
    from mkdocs.structure.files import File

    root = Path(config.config_file_path).parent
    for file, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(root / file)))
    return files


def on_page_markdown(markdown: str, page: "Page", **_: object) -> str:
    """Has a page's links lead to pages of the site."""
    here = page.file.src_uri
    return LINK.sub(lambda link: in_site(here, link["file"]) + (link["place"] or ""), markdown)


def in_site(here: str, linked: str) -> str:
    """Returns a link that is meant in the repository as one between pages of the site."""
    file = normpath(f"{dirname(FILES.get(here, DOCS + here))}/{linked}".lstrip("/"))
    page = PAGES.get(file, file.removeprefix(DOCS))
    return relpath(page, dirname(here) or ".")
