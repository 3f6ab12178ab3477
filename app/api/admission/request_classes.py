"""Request classes and their limits."""

from collections.abc import Mapping

from app.api.admission.body_limit import MONITORING_PATHS, BodyLimit, RequestClass
from app.api.admission.fair_limit import FairLimit
from app.api.middleware.auth import is_open
from app.api.schemas.images import JSON_MEMORY_FACTOR

ARCHIVE_UPLOAD = ("POST", "/jobs")
IMAGE_UPLOADS = (("POST", "/index"), ("POST", "/search"), ("POST", "/search/batch"))
# A single caller may use half of them at the same time, each for up to an hour.
MAX_ARCHIVE_UPLOADS = 8
# The largest body of a request to an open path is an API key.
MAX_OPEN_BODY_BYTES = 65_536
# A slow client costs a connection and a buffer but no thread, so more of them are allowed than working requests.
SLOW_FACTOR = 4
# Threads for requests admitted beyond `requests`: archives, open paths, uploads to temporary files.
EXTRA_THREADS = 32


class RequestClasses:
    """Maps requests to their class.

    Args:
        requests: concurrency limit of requests being processed.
        text, images, archives: limits of bodies without images, bodies with images, and archives.
    """

    def __init__(self, requests: int, text: BodyLimit, images: BodyLimit, archives: BodyLimit) -> None:
        slow = SLOW_FACTOR * requests
        arriving, working, sending = FairLimit(slow), FairLimit(requests), FairLimit(slow)
        self._default = RequestClass(text, arriving, working, sending, memory_factor=JSON_MEMORY_FACTOR)
        with_images = RequestClass(images, arriving, working, sending, buffered=False)
        uploads = FairLimit(MAX_ARCHIVE_UPLOADS, weight=1)
        self._by_request: Mapping[tuple[str, str], RequestClass] = {
            **dict.fromkeys(IMAGE_UPLOADS, with_images),
            ARCHIVE_UPLOAD: RequestClass(archives, uploads, uploads, uploads, buffered=False, memory_factor=0),
        }
        # Separate limits: requests that wait for the database must not block `/healthz`.
        self._monitoring = {path: _open_path_class(text, requests) for path in MONITORING_PATHS}
        self._open = _open_path_class(text, max(requests // 4, 1))

    def of(self, method: str, path: str) -> RequestClass:
        """Return the class of a request."""
        if path in self._monitoring:
            return self._monitoring[path]
        if is_open(path):
            return self._open
        return self._by_request.get((method, path), self._default)


def _open_path_class(text: BodyLimit, requests: int) -> RequestClass:
    """Return a class for paths that require no key: small bodies that arrive at once."""
    body = BodyLimit(min(text.max_bytes, MAX_OPEN_BODY_BYTES), min(text.timeout_s, text.rate.grace_s), text.rate)
    slow = SLOW_FACTOR * requests
    return RequestClass(body, FairLimit(slow), FairLimit(requests), FairLimit(slow), memory_factor=JSON_MEMORY_FACTOR)
