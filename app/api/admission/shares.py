"""Limits that callers share: places for requests, and bytes of memory."""

import threading
from collections import Counter
from collections.abc import Hashable

from app.errors import OverloadedError

# One caller alone may hold eight ninths of a limit, two may hold eight seventeenths each.
WEIGHT = 8


class Shares:
    """A limit shared by callers with dynamic thresholds (Choudhury and Hahne, 1998); safe for many threads.

    A caller may hold at most `weight` times as much as is free. One caller alone gets nearly everything, several get
    equal parts, and something stays free for a caller that holds nothing yet.

    Args:
        limit: how much there is, in whatever unit is counted.
        weight: how much of it one caller may hold, as a multiple of what is free.
    """

    def __init__(self, limit: int, weight: int = WEIGHT) -> None:
        self._limit, self._weight = limit, weight
        self._held, self._total, self._changing = Counter[Hashable](), 0, threading.Lock()

    @property
    def total(self) -> int:
        """How much all callers hold."""
        return self._total

    def fits(self, caller: Hashable, amount: int = 1) -> bool:
        """Returns whether a caller may take this much now."""
        free = self._limit - self._total
        return amount <= free and self._held[caller] + amount <= self._weight * free

    def take(self, caller: Hashable, amount: int = 1, *, own: int = 0) -> bool:
        """Takes a part of the limit; returns False where the caller may not have it.

        Args:
            caller: who takes it.
            amount: how much.
            own: how much the request already holds. A request may pass the limit while no other holds anything.
        """
        with self._changing:
            if self._total > own and not self.fits(caller, amount):
                return False
            self._add(caller, amount)
            return True

    def give_back(self, caller: Hashable, amount: int = 1) -> None:
        """Returns a part that was taken."""
        with self._changing:
            self._add(caller, -amount)

    def _add(self, caller: Hashable, amount: int) -> None:
        self._total += amount
        self._held[caller] += amount
        if not self._held[caller]:
            del self._held[caller]


class Place:
    """One request's place, which changes from one limit to another as the request proceeds."""

    def __init__(self, caller: Hashable) -> None:
        self.caller = caller
        self._held: Shares | None = None

    def move(self, to: Shares) -> bool:
        """Takes a place elsewhere and gives up the present one; returns False, and keeps it, where none is free."""
        if not to.take(self.caller):
            return False
        self.leave()
        self._held = to
        return True

    def leave(self) -> None:
        """Gives up the present place."""
        if self._held is not None:
            self._held.give_back(self.caller)
            self._held = None


class Charge:
    """The bytes that one request holds, of those that all requests of a process may hold."""

    def __init__(self, budget: Shares, caller: Hashable) -> None:
        self._budget, self._caller, self.held = budget, caller, 0

    def add(self, amount: int) -> None:
        """Charges bytes.

        Raises:
            OverloadedError: they may not be held now.
        """
        if not self._budget.take(self._caller, amount, own=self.held):
            raise OverloadedError(bytes_held=True)
        self.held += amount

    def shrink(self, to: int = 0) -> None:
        """Gives back what is charged beyond a number of bytes."""
        if (spare := self.held - to) > 0:
            self.held = to
            self._budget.give_back(self._caller, spare)
