"""The kinds of requests, and the limits of each."""

from collections.abc import Mapping

from app.api.admission.body_limit import ALWAYS, BodyLimit, Lane
from app.api.admission.shares import Shares
from app.api.middleware.auth import is_open
from app.api.schemas.images import IN_MEMORY

EXPECTS_ARCHIVE = ("POST", "/jobs")
EXPECT_IMAGES = (("POST", "/index"), ("POST", "/search"), ("POST", "/search/batch"))
# One caller alone may send half of them at the same time, each for up to an hour.
ARCHIVES = 8
# Requests to open paths bring an API key at most.
OPEN_BODY_BYTES = 65_536
# Slow clients cost a connection and a buffer, and no thread, so there may be more of them than of working requests.
SLOW_FACTOR = 4
# Threads for what is admitted beside `requests`: archives, open paths, uploads that go to temporary files.
OTHER_THREADS = 32


class Lanes:
    """The lane of each request.

    Args:
        requests: how many requests are worked on at the same time.
        text, images, archives: limits of bodies: those without images, those with images, archives.
    """

    def __init__(self, requests: int, text: BodyLimit, images: BodyLimit, archives: BodyLimit) -> None:
        slow = SLOW_FACTOR * requests
        arriving, working, sending = Shares(slow), Shares(requests), Shares(slow)
        self._default = Lane(text, arriving, working, sending, memory_factor=IN_MEMORY)
        with_images = Lane(images, arriving, working, sending, buffered=False)
        uploads = Shares(ARCHIVES, weight=1)
        self._by_request: Mapping[tuple[str, str], Lane] = {
            **dict.fromkeys(EXPECT_IMAGES, with_images),
            EXPECTS_ARCHIVE: Lane(archives, uploads, uploads, uploads, buffered=False, memory_factor=0),
        }
        # Each for itself: what waits for the database must not keep `/healthz` from responding.
        self._always = {path: _open_lane(text, requests) for path in ALWAYS}
        self._open = _open_lane(text, max(requests // 4, 1))

    def of(self, method: str, path: str) -> Lane:
        """Returns the lane of a request."""
        if path in self._always:
            return self._always[path]
        if is_open(path):
            return self._open
        return self._by_request.get((method, path), self._default)


def _open_lane(text: BodyLimit, requests: int) -> Lane:
    """Returns a lane for paths that ask for no key: small bodies that are there at once."""
    body = BodyLimit(min(text.most, OPEN_BODY_BYTES), min(text.seconds, text.rate.grace_s), text.rate)
    slow = SLOW_FACTOR * requests
    return Lane(body, Shares(slow), Shares(requests), Shares(slow), memory_factor=IN_MEMORY)
