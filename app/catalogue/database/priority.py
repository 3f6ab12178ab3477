"""Which database connections are kept for what: short queries do not wait behind long ones.

Lists, counts and changes may take a part of a process's connections, searches more, and health checks, key look-ups
and following the catalogue all of them.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum

from app.errors import UnavailableError


class Priority(IntEnum):
    """What a query is for; the shorter it takes, the more connections it may use."""

    ORDINARY = 0
    SEARCH = 1
    PROMPT = 2


_CURRENT: ContextVar[Priority] = ContextVar("priority", default=Priority.ORDINARY)


@contextmanager
def priority(at_least: Priority) -> Iterator[None]:
    """Gives the queries of the block at least this priority."""
    before = _CURRENT.set(max(_CURRENT.get(), at_least))
    try:
        yield
    finally:
        _CURRENT.reset(before)


class Connections:
    """Counts the connections in use, and has queries wait that may not take another one.

    Args:
        limit: how many there are. Where they are fewer than five, all priorities share them.
        patience_s: how long a query waits.
    """

    def __init__(self, limit: int, patience_s: float) -> None:
        self._in_use, self._changed, self._patience_s = 0, threading.Condition(), patience_s
        for_prompt, for_searches = limit // 10, limit // 5
        self._limits = {
            Priority.ORDINARY: limit - for_prompt - for_searches,
            Priority.SEARCH: limit - for_prompt,
            Priority.PROMPT: limit,
        }

    @contextmanager
    def one(self) -> Iterator[None]:
        """Counts a connection for the length of the block.

        Raises:
            UnavailableError: those for the current priority stay in use.
        """
        limit = self._limits[_CURRENT.get()]
        with self._changed:
            if not self._changed.wait_for(lambda: self._in_use < limit, self._patience_s):
                raise UnavailableError("The database has as many queries as it takes. Try again in a moment.")
            self._in_use += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_use -= 1
                self._changed.notify_all()
