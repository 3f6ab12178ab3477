"""Query priorities: reserve database connections, so that short queries do not wait behind long ones.

Lists, counts and changes may use a part of a process's connections, searches more, and health checks, key look-ups and
index sync all of them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

from app.errors import UnavailableError


class Priority(IntEnum):
    """Kinds of queries; the shorter they take, the more connections they may use."""

    ORDINARY = 0
    SEARCH = 1
    IMMEDIATE = 2


_CURRENT: ContextVar[Priority] = ContextVar("priority", default=Priority.ORDINARY)


@contextmanager
def priority(at_least: Priority) -> Iterator[None]:
    """Run the queries of the block with at least this priority."""
    before = _CURRENT.set(max(_CURRENT.get(), at_least))
    try:
        yield
    finally:
        _CURRENT.reset(before)


class ConnectionLimiter:
    """Connection limits by priority; a query above the limit of its priority waits.

    Args:
        limit: all connections. With fewer than five, all priorities share them.
        patience_s: how many seconds a query waits.
    """

    def __init__(self, limit: int, patience_s: float) -> None:
        self._in_use, self._changed, self._patience_s = 0, threading.Condition(), patience_s
        for_prompt, for_searches = limit // 10, limit // 5
        self._limits = {
            Priority.ORDINARY: limit - for_prompt - for_searches,
            Priority.SEARCH: limit - for_prompt,
            Priority.IMMEDIATE: limit,
        }

    @contextmanager
    def acquire(self) -> Iterator[None]:
        """Take one connection from the limit while the block runs.

        Raises:
            UnavailableError: the limit of the current priority stays reached.
        """
        limit = self._limits[_CURRENT.get()]
        with self._changed:
            if not self._changed.wait_for(lambda: self._in_use < limit, self._patience_s):
                raise UnavailableError("The limit of concurrent database queries is reached. Try again in a moment.")
            self._in_use += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify_all()
