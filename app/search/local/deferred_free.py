"""Slots that no picture has any more, until nobody can be about to read them."""

import threading
import time
from collections import deque
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

Slots = NDArray[np.int64]


class Discarded:
    """Keeps slots for `patience` seconds, or longer, until somebody asks. Safe for many threads.

    What it keeps when the process ends is forgotten, and stays where it is, unused.
    """

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self._left: deque[tuple[float, Slots]] = deque()
        self._taking = threading.Lock()

    def add(self, slots: Slots) -> None:
        """Takes slots that no picture has any more."""
        with self._taking:
            self._left.append((time.monotonic(), slots))

    def due(self, at_least: int = 1) -> Slots:
        """Hands out those that have been here long enough, each once; none if there are fewer than `at_least`."""
        with self._taking:
            until = time.monotonic() - self.patience
            due = list(takewhile(lambda left: left[0] <= until, self._left))
            if sum(len(slots) for _, slots in due) < at_least:
                return np.zeros(0, np.int64)
            for _ in due:
                self._left.popleft()
            return np.concatenate([slots for _, slots in due])
