"""How often a key may be used, in one process."""

import time

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from app.catalogue.keys import Key
from app.errors import TooManyRequestsError


class RateLimit:
    """Limits how often each key may be used, in this process.

    Args:
        rate: such as `600/minute`.
    """

    def __init__(self, rate: str) -> None:
        self._text, self._rate = rate.strip(), parse(rate)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def require(self, key: Key) -> None:
        """Counts a request of a key.

        Raises:
            TooManyRequestsError: it exceeds the limit.
        """
        if not self._limiter.hit(self._rate, str(key.id)):
            window = self._limiter.get_window_stats(self._rate, str(key.id))
            # The oldest request leaves the window at its reset time.
            left = window.reset_time - time.time() if window.remaining <= 0 else 0
            raise TooManyRequestsError(self._text, int(max(left, 0)) + 1)
