"""Limits shared fairly between callers: permits for requests, and bytes of memory."""

import threading
from collections import Counter
from collections.abc import Hashable

from app.errors import OverloadedError

# A single caller may hold eight ninths of a limit, two may hold eight seventeenths each.
WEIGHT = 8


class FairLimit:
    """Limit shared by callers with dynamic thresholds (Choudhury and Hahne, 1998); thread-safe.

    A caller may hold at most `weight` times the free amount. A single caller gets nearly everything, several get
    equal shares, and something stays free for a caller that holds nothing yet.

    Args:
        limit: total amount, in any unit.
        weight: maximum of one caller, as a multiple of the free amount.
    """

    def __init__(self, limit: int, weight: int = WEIGHT) -> None:
        self._limit, self._weight = limit, weight
        self._held, self._total, self._lock = Counter[Hashable](), 0, threading.Lock()

    @property
    def total(self) -> int:
        """Amount held by all callers."""
        return self._total

    def can_acquire(self, caller: Hashable, amount: int = 1) -> bool:
        """Return whether a caller may acquire this amount now."""
        free = self._limit - self._total
        return amount <= free and self._held[caller] + amount <= self._weight * free

    def try_acquire(self, caller: Hashable, amount: int = 1, *, already: int = 0) -> bool:
        """Acquire a part of the limit; return False if it is not available to the caller.

        Args:
            caller: API key or address that acquires it.
            amount: amount to acquire.
            already: amount that the request holds. A request may exceed the limit while no other holds anything.
        """
        with self._lock:
            if self._total > already and not self.can_acquire(caller, amount):
                return False
            self._add(caller, amount)
            return True

    def release(self, caller: Hashable, amount: int = 1) -> None:
        """Release a part acquired before."""
        with self._lock:
            self._add(caller, -amount)

    def _add(self, caller: Hashable, amount: int) -> None:
        self._total += amount
        self._held[caller] += amount
        if not self._held[caller]:
            del self._held[caller]


class Permit:
    """Permit of one request, which switches from limit to limit as the request proceeds."""

    def __init__(self, caller: Hashable) -> None:
        self.caller = caller
        self._held: FairLimit | None = None

    def switch_to(self, limit: FairLimit) -> bool:
        """Acquire a permit of another limit and release the present one; return False and keep it if none is free."""
        if not limit.try_acquire(self.caller):
            return False
        self.release()
        self._held = limit
        return True

    def release(self) -> None:
        """Release the permit, if any."""
        if self._held is not None:
            self._held.release(self.caller)
            self._held = None


class Charge:
    """Memory charged to one request, out of the limit of a process."""

    def __init__(self, budget: FairLimit, caller: Hashable) -> None:
        self._budget, self._caller, self.held = budget, caller, 0

    def add(self, amount: int) -> None:
        """Charge bytes.

        Raises:
            OverloadedError: the memory limit is reached.
        """
        if not self._budget.try_acquire(self._caller, amount, already=self.held):
            raise OverloadedError(memory=True)
        self.held += amount

    def shrink(self, to: int = 0) -> None:
        """Release what is charged beyond `to` bytes."""
        if (spare := self.held - to) > 0:
            self.held = to
            self._budget.release(self._caller, spare)
