"""Rate limit of API keys, per process."""

import time

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.catalogue.keys import Key
from app.errors import TooManyRequestsError


class RateLimit:
    """Moving-window rate limit of each API key, counted in this process.

    Args:
        rate: such as `600/minute`.
    """

    def __init__(self, rate: str) -> None:
        self._text, self._rate = rate.strip(), parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def require(self, key: Key) -> None:
        """Count a request of a key.

        Raises:
            TooManyRequestsError: the request exceeds the limit.
        """
        if not self._limiter.hit(self._rate, str(key.id)):
            window = self._limiter.get_window_stats(self._rate, str(key.id))
            # The oldest request leaves the window at its reset time.
            left = window.reset_time - time.time() if window.remaining <= 0 else 0
            raise TooManyRequestsError(self._text, int(max(left, 0)) + 1)
