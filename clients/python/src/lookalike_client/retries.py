"""Retries with exponential backoff."""

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
    """Retry policy for connection errors, 429 and 503.

    Delays grow exponentially with jitter, and are never shorter than the response's `Retry-After`.

    Attributes:
        attempts: maximum number of times a request is sent; 1 disables retries.
        initial_delay: seconds before the second attempt; each further delay is twice as long.
        max_delay: maximum delay in seconds. A response with a longer `Retry-After` is not retried.

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
            raise ValueError("initial_delay, max_delay: a delay cannot be negative. Use 0 or more seconds.")

    def delay(self, attempt: int, outcome: httpx.Response | httpx.RequestError) -> float | None:
        """Return the seconds to wait after an attempt, counted from 1; None if the request is not sent again."""
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
        # Jitter spreads the retries of clients that were rejected at the same moment.
        jittered = backoff * random.uniform(0.5, 1.0)  # noqa: S311 - a delay, which may be predictable
        return max(requested or 0.0, jittered)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Parse a Retry-After header, seconds or a date, to seconds; None if there is none."""
    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
    return max((aware - datetime.now(timezone.utc)).total_seconds(), 0.0)
