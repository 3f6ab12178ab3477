"""Files of the web pages, read once at start, and compressed once.

Scripts and styles have URLs with a hash of all of them, such as `/web/3f5a…/app.js`, which browsers may keep for ever.
The hash is a folder, so that relative imports need no rewriting. A page is revalidated on every visit, and loads one
script and one style, which are all of its scripts and styles. Comments on lines of their own, types and the indentation
of styles are not sent.

With any other hash, and without one, a URL has the current file, to be revalidated: a page that was open during an
upgrade, or that comes from a replica of another version, still loads what it lacks.
"""

import gzip
import hashlib
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.bundle import bundle
from app.api.conditional import is_not_modified
from app.api.paths import app_path

# Suffixes of the files that are served.
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
CURRENT, ANY = "public, max-age=31536000, immutable", "no-cache"
# Root paths for which a page is kept in memory.
_CACHED_PAGES = 64
_COMMENT_LINES = re.compile(r"^[ \t]*(?://.*|/\*(?:(?!\*/)[\s\S])*\*/)[ \t]*\n", re.MULTILINE)
# A type in front of an expression, and the indentation of styles.
_NOT_SENT = {".js": re.compile(r"/\*\* @(?:(?!\*/)[\s\S])*\*/ ?"), ".css": re.compile(r"^[ \t]+", re.MULTILINE)}
_SCRIPT = re.compile(r' *<script type="module" src="/web/([^"]+)"></script>\n')
_STYLE = re.compile(r' *<link rel="stylesheet" href="/web/([^"]+)">\n')
_HASH = re.compile(r"[0-9a-f]{16}/")
_NEVER = re.compile(r"\s*q=0(\.0*)?\s*")


@dataclass(frozen=True)
class WebFile:
    """A text file as it is sent."""

    text: str
    media_type: str

    @cached_property
    def content(self) -> bytes:
        """The file."""
        return self.text.encode()

    @cached_property
    def compressed(self) -> bytes:
        """The file, compressed with gzip."""
        return gzip.compress(self.content, mtime=0)

    @cached_property
    def digest(self) -> str:
        """The file's SHA-256."""
        return hashlib.sha256(self.content).hexdigest()

    def response(self, request: Headers, headers: Mapping[str, str]) -> Response:
        """Respond to a GET; 304 if the client has the file.

        Ranges are ignored (RFC 9110, 14.2), because the files are small.
        """
        compressed = accepts_gzip(request)
        etag = f'"{self.digest}{"-gzip" if compressed else ""}"'
        headers = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
        if is_not_modified(request.getlist("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        if compressed:
            headers["Content-Encoding"] = "gzip"
        body = self.compressed if compressed else self.content
        return Response(body, headers=headers, media_type=self.media_type)


def accepts_gzip(request: Headers) -> bool:
    """Return whether the response to a request may be compressed with gzip (RFC 9110, 12.5.3)."""
    parts = (part.partition(";") for part in ",".join(request.getlist("accept-encoding")).split(","))
    weights = {name.strip().lower(): weight for name, _, weight in parts}
    return not _NEVER.fullmatch(weights.get("gzip", weights.get("*", "q=0")))


class WebFiles:
    """ASGI application of the scripts, styles and icons in a folder, mounted at `/web`; and the folder's pages.

    Attributes:
        version: the hash in the URLs.
        files: the files by their path in the folder; `NAME.html.js` and `NAME.html.css` are all scripts and
            styles of a page.
    """

    def __init__(self, folder: Path) -> None:
        self.files = dict[str, WebFile]()
        for path in sorted(folder.rglob("*")):
            if path.suffix in MEDIA_TYPES:
                text = _COMMENT_LINES.sub("", path.read_text(encoding="utf-8"))
                if path.suffix in _NOT_SENT:
                    text = _NOT_SENT[path.suffix].sub("", text)
                self.files[path.relative_to(folder).as_posix()] = WebFile(text, MEDIA_TYPES[path.suffix])
        self._pages = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in folder.rglob("*.html")}
        for name, html in self._pages.items():
            self._add_joined(name, html)
        tree = "\n".join(f"{name} {file.digest}" for name, file in self.files.items())
        self.version = hashlib.sha256(tree.encode()).hexdigest()[:16]
        self.page = lru_cache(_CACHED_PAGES)(self._page)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond with a file.

        Raises:
            HTTPException: there is no such file, or the method is not GET.
        """
        if scope["method"] != "GET":
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        path = app_path(scope).removeprefix("/web/")
        file = self.files.get(_HASH.sub("", path, count=1) if _HASH.match(path) else path)
        if file is None:
            raise HTTPException(404)
        caching = CURRENT if path.startswith(f"{self.version}/") else ANY
        await file.response(Headers(scope=scope), {"Cache-Control": caching})(scope, receive, send)

    def _add_joined(self, page: str, html: str) -> None:
        """Join the scripts and the styles of a page."""
        texts = {name: file.text for name, file in self.files.items()}
        script = bundle(texts, _SCRIPT.findall(html), posixpath.dirname(page))
        self.files[f"{page}.js"] = WebFile(script, MEDIA_TYPES[".js"])
        styles = "".join(texts[style] for style in _STYLE.findall(html))
        self.files[f"{page}.css"] = WebFile(styles, MEDIA_TYPES[".css"])

    def _page(self, name: str, root_path: str) -> WebFile:
        """Return an HTML page of the folder, with URLs below a root path."""
        joined = (
            f'    <link rel="stylesheet" href="/web/{name}.css">\n'
            f'    <script type="module" src="/web/{name}.js"></script>\n'
        )
        html = _STYLE.sub("", _SCRIPT.sub("", self._pages[name])).replace("  </head>", f"{joined}  </head>", 1)
        return WebFile(
            html.replace('="/web/', f'="/web/{self.version}/').replace('="/', f'="{root_path}/'), "text/html"
        )
