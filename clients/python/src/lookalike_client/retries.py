"""When a request is sent again, and after which delay."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRIED_STATUSES = (429, 503)


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and after which delays, a request is retried: after connection errors, 429 and 503.

    Delays grow exponentially with jitter, and are never shorter than the response's `Retry-After`.

    Attributes:
        attempts: how often a request is sent at most; 1 disables retries.
        initial_delay: seconds before the second attempt; each further delay is twice as long.
        max_delay: the longest delay in seconds. A response that asks for more is not retried.

    Raises:
        ValueError: `attempts` is less than 1, or a delay is negative.
    """

    attempts: int = 5
    initial_delay: float = 0.5
    max_delay: float = 60.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts: {self.attempts} is less than 1. Use 1 to send each request once.")
        if self.initial_delay < 0 or self.max_delay < 0:
            raise ValueError("initial_delay, max_delay: a delay cannot be negative.")

    def delay(self, attempt: int, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Returns the seconds to wait after an attempt, counted from 1; None if the request is not sent again."""
        if attempt >= self.attempts:
            return None
        requested: float | None = None
        if isinstance(outcome, httpx.Response):
            if outcome.status_code not in RETRIED_STATUSES:
                return None
            requested = retry_after(outcome.headers)
            if requested is not None and requested > self.max_delay:
                return None
        backoff = min(self.initial_delay * 2.0 ** (attempt - 1), self.max_delay)
        # Jitter, so that clients rejected at the same moment do not return at the same moment.
        jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - a delay, which may be predictable
        return max(requested or 0.0, jittered)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Returns the seconds of a Retry-After header, which may also hold a date; None if there is none."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max((aware - datetime.now(timezone.utc)).total_seconds(), 0.0)
