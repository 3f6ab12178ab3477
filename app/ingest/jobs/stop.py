"""Cooperative stop: kills processes at once, and threads' work after a grace period."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from app.errors import LookalikeError, UnavailableError
from app.ingest.uploads import OnDuplicate

if TYPE_CHECKING:
    from app.ingest.uploads import AddResult, Upload

# How long work in progress may take to finish after a stop.
GRACE_S = 2.0


class StoppedError(LookalikeError):
    """Work was aborted by a stop request."""


class Stop:
    """A thread-safe stop request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def requested(self) -> bool:
        """Whether a stop was requested; no new work should start then."""
        return self._since is not None

    def request(self) -> None:
        """Request a stop; idempotent."""
        with self._lock:
            if self._since is None:
                self._since = time.monotonic()
            callbacks = list(self._callbacks)
        for end in callbacks:
            end()

    def check(self) -> None:
        """Abort work once the grace period of a stop is over.

        Raises:
            StoppedError: it is over.
        """
        if self._since is not None and time.monotonic() - self._since > GRACE_S:
            raise StoppedError

    @contextmanager
    def on_request(self, end: Callable[[], None]) -> Iterator[None]:
        """Call `end` on a stop during the block, to end what the block waits for."""
        with self._lock:
            self._callbacks.append(end)
            already_requested = self.requested
        try:
            if already_requested:
                end()
            yield
        finally:
            with self._lock:
                self._callbacks.remove(end)


class StoppableTarget(Protocol):
    """A catalogue whose additions can be stopped."""

    def add(
        self, uploads: "Sequence[Upload]", stop: Stop | None = None, on_duplicate: OnDuplicate = OnDuplicate.ADD
    ) -> "list[AddResult]":
        """Add or replace images; see `app.ingest.pipeline.IngestPipeline.add`."""
        ...


class Stoppable:
    """Adapter of a stoppable target to `app.ingest.bulk.IngestTarget`."""

    def __init__(self, target: StoppableTarget, stop: Stop, on_duplicate: OnDuplicate = OnDuplicate.ADD) -> None:
        self._target, self._stop, self._on_duplicate = target, stop, on_duplicate

    def add(self, uploads: "Sequence[Upload]") -> "list[AddResult]":
        """Add or replace images.

        Raises:
            StoppedError: a stop was requested and the grace period is over; the uploads may be added again.
        """
        try:
            return self._target.add(uploads, self._stop, self._on_duplicate)
        except UnavailableError as error:
            # A stopping service callbacks its decode workers; the job should not wait for them.
            if self._stop.requested:
                raise StoppedError from error
            raise
