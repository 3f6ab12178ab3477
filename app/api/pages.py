"""The web pages, and the scripts and styles that they load."""

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path

from fastapi import FastAPI, Request, Response

from app.api.paths import RootPathDep
from app.api.web_files import WebFiles

WEB_DIR = Path(__file__).parents[1] / "web"
# Web pages: HTML files in `WEB_DIR`, by path.
PAGES = {
    "/": "index.html",
    "/operations": "operations/operations.html",
    "/training": "training/training.html",
    "/docs": "docs/docs.html",
}
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
# Swagger UI sets styles of elements.
DOCS_POLICY = f"{PAGE_POLICY}; style-src 'self' 'unsafe-inline'"


def add_pages(app: FastAPI) -> None:
    """Serve the web pages, with their URLs below the root path, and their files."""
    files = web_files()
    app.mount("/web", files, name="web")
    for path, name in PAGES.items():
        policy = DOCS_POLICY if path == "/docs" else PAGE_POLICY
        app.get(path, include_in_schema=False)(page_endpoint(files, name, policy))


@cache
def web_files() -> WebFiles:
    """Return the files of the web pages, which stay the same while this process runs."""
    return WebFiles(WEB_DIR)


def page_endpoint(files: WebFiles, name: str, policy: str) -> Callable[..., Awaitable[Response]]:
    """Return the endpoint of a web page with a content security policy."""

    async def page(request: Request, root_path: RootPathDep) -> Response:
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
        return files.page(name, root_path).response(request.headers, headers)

    return page
