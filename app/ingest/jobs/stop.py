"""A request to stop: it ends processes at once, and work in threads when it has had a little time to finish."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from app.errors import LookalikeError, UnavailableError

if TYPE_CHECKING:
    from app.ingest.pipeline import Added, Upload

# What is under way at a stop may take this long to come to its end; then it is given up.
GRACE_S = 2.0


class StoppedError(LookalikeError):
    """Work was given up because it was asked to stop."""


class Stop:
    """Whether work has to stop. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._ends: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether nothing new shall begin."""
        return self._since is not None

    def request(self) -> None:
        """Ask to stop; a second time changes nothing."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
            ends = list(self._ends)
        for end in ends:
            end()

    def check(self) -> None:
        """Give up where work under way has had its time.

        Raises:
            StoppedError: it has.
        """
        if self._since is not None and time.monotonic() - self._since > GRACE_S:
            raise StoppedError

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Have a stop during the block call a function that ends what the block waits for."""
        with self._lock:
            self._ends.append(end)
            late = self.requested
        try:
            if late:
                end()
            yield
        finally:
            with self._lock:
                self._ends.remove(end)


class StoppableTarget(Protocol):
    """A catalogue to fill, which gives up additions that take too long after a stop."""

    def add(self, uploads: "Sequence[Upload]", stop: Stop | None = None) -> "list[Added]":
        """Add pictures; see `app.ingest.pipeline.Ingest.add`."""
        ...


class Stoppable:
    """A target (`app.ingest.bulk.Target`) whose additions give up after a stop."""

    def __init__(self, target: StoppableTarget, stop: Stop) -> None:
        self._target, self._stop = target, stop

    def add(self, uploads: "Sequence[Upload]") -> "list[Added]":
        """Add pictures.

        Raises:
            StoppedError: a stop was requested, and they were not ready in time; they may be added again.
        """
        try:
            return self._target.add(uploads, self._stop)
        except UnavailableError as error:
            # A service that stops ends what decodes pictures; that is nothing for the job to wait for.
            if self._stop.requested:
                raise StoppedError from error
            raise
