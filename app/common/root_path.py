"""Parse the root path, below which a reverse proxy serves the application, such as `/lookalike`."""

import re

# First segments of the application's own paths. A root path must not begin with one of them, because paths with and
# without it could not be distinguished.
OWN_SEGMENTS = frozenset(
    {
        "docs",
        "duplicates",
        "facets",
        "healthz",
        "images",
        "index",
        "jobs",
        "keys",
        "metrics",
        "models",
        "openapi.json",
        "operations",
        "readyz",
        "redoc",
        "report",
        "search",
        "session",
        "static-offline-docs",
        "stats",
        "tasks",
        "training",
        "trash",
        "web",
    }
)
_SEGMENTS = re.compile(r"(/[A-Za-z0-9._~@:+-]{1,100}){1,10}")


def parse_root_path(text: str) -> str:
    """Return a root path with a leading and without a trailing slash; empty for `/`.

    Raises:
        ValueError: it is not a path that the application can be served below.
    """
    path = text.strip().rstrip("/")
    if not path:
        return ""
    segments = path.split("/")
    if not _SEGMENTS.fullmatch(path) or "." in segments or ".." in segments:
        raise ValueError(
            f"{text[:200]!r} is not a path. Use one such as /lookalike, of letters, digits and any of . _ ~ @ : + -"
        )
    if segments[1] in OWN_SEGMENTS:
        raise ValueError(f"{text!r} begins with a path of the service, /{segments[1]}. Choose another path")
    return path
