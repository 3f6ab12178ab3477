"""Deferred freeing of slots that concurrent searches may still read."""

import threading
import time
from collections import deque
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.int64]


class DeferredFree:
    """Holds freed slots for at least `delay` seconds. Thread-safe.

    Slots still held when the process ends are lost: their storage stays in use.
    """

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self._pending: deque[tuple[float, Slots]] = deque()
        self._lock = threading.Lock()

    def add(self, slots: Slots) -> None:
        """Add slots that no longer belong to an image."""
        with self._lock:
            self._pending.append((time.monotonic(), slots))

    def due(self, at_least: int = 1) -> Slots:
        """Remove and return the slots whose delay has passed; none if there are fewer than `at_least`."""
        with self._lock:
            cutoff = time.monotonic() - self.delay
            due = list(takewhile(lambda pending: pending[0] <= cutoff, self._pending))
            if sum(len(slots) for _, slots in due) < at_least:
                return np.zeros(0, np.int64)
            for _ in due:
                self._pending.popleft()
            return np.concatenate([slots for _, slots in due])
