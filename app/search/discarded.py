"""Slots that no picture has any more, until nobody can be about to read them."""

import threading
import time
from collections import deque
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.int64]


class Discarded:
    """Keeps slots for `patience` seconds, and then until there are at least so many. Safe for many threads.

    What it keeps when the process ends is forgotten, and stays where it is, unused.
    """

    def __init__(self, patience: float, at_least: int = 1) -> None:
        self.patience, self._at_least = patience, at_least
        self._left: deque[tuple[float, Slots]] = deque()
        self._taking = threading.Lock()

    def add(self, slots: Slots) -> None:
        """Takes slots that no picture has any more."""
        with self._taking:
            self._left.append((time.monotonic(), slots))

    def due(self) -> Slots:
        """Hands out those that have been here long enough, each once; none as long as they are too few."""
        with self._taking:
            until = time.monotonic() - self.patience
            due = list(takewhile(lambda left: left[0] <= until, self._left))
            if sum(len(slots) for _, slots in due) < self._at_least:
                return np.zeros(0, np.int64)
            for _ in due:
                self._left.popleft()
            return np.concatenate([slots for _, slots in due])
