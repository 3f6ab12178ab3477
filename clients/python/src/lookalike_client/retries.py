"""When a request is sent again, and after how long."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2

BUSY = (429, 503)


@dataclass(frozen=True)
class Patience:
    """How long a client goes on.

    Attributes:
        tries: how often a request is sent at most.
        first_pause: seconds before it is sent again; each further pause is twice as long.
        longest_pause: no pause is longer; where the service asks for more, its refusal is handed on.
    """

    tries: int = 5
    first_pause: float = 0.5
    longest_pause: float = 60.0

    def pause(self, tried: int, outcome: httpx2.Response | httpx2.RequestError) -> float | None:
        """Returns after how many seconds a request is sent again that was sent so often; None if it is not."""
        if tried >= self.tries:
            return None
        asked: float | None = None
        if isinstance(outcome, httpx2.Response):
            if outcome.status_code not in BUSY:
                return None
            asked = retry_after(outcome.headers)
            if asked is not None and asked > self.longest_pause:
                return None
        backoff = min(self.first_pause * 2.0 ** (tried - 1), self.longest_pause)
        # Not all at the same moment, where many were refused at once.
        spread = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it
        return max(asked or 0.0, spread)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of a Retry-After header, which may also be a date."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    now = datetime.now(UTC)
    return max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now.timestamp(), 0.0)
