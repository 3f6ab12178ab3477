"""Work that several threads want at the same moment, done once for all of them; and its results, remembered."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from app.catalogue.database.callers import current_caller
from app.errors import CallerLeftError

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

# How often a thread that waits for another's work looks whether its own caller is still there.
_LOOK_S = 0.5


class SingleFlight(Generic[KeyT, ValueT]):
    """Work by key. Whatever it raises, all who wait for it get; when its caller leaves, the next one does it."""

    def __init__(self) -> None:
        self._under_way: dict[KeyT, Future[ValueT]] = {}
        self._changing = threading.Lock()

    def do(self, key: KeyT, work: Callable[[], ValueT]) -> ValueT:
        """Returns what `work` does, or what another thread's does that has begun under the same key.

        Raises:
            CallerLeftError: this thread's own caller is gone.
        """
        while True:
            with self._changing:
                others = self._under_way.get(key)
                mine = Future[ValueT]()
                if others is None:
                    self._under_way[key] = mine
            if others is None:
                return self._lead(key, mine, work)
            _wait_for(others)
            if not isinstance(others.exception(), CallerLeftError):
                return others.result()

    def _lead(self, key: KeyT, mine: Future[ValueT], work: Callable[[], ValueT]) -> ValueT:
        try:
            value = work()
        except BaseException as error:
            self._end(key)
            mine.set_exception(error)
            raise
        self._end(key)
        mine.set_result(value)
        return value

    def _end(self, key: KeyT) -> None:
        with self._changing:
            del self._under_way[key]


class Remembered(Generic[KeyT, ValueT]):
    """As `SingleFlight`, and remembers the results that were asked for last, `most` of them.

    A key says of which moment its result is, so that none is ever out of date.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[KeyT, ValueT] = OrderedDict()
        self._changing = threading.Lock()
        self._flights: SingleFlight[KeyT, ValueT] = SingleFlight()

    def get(self, key: KeyT, work: Callable[[], ValueT]) -> ValueT:
        """Returns what `work` does, has done, or another thread is doing under the same key."""
        with self._changing:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        return self._flights.do(key, lambda: self._remember(key, work))

    def _remember(self, key: KeyT, work: Callable[[], ValueT]) -> ValueT:
        value = work()
        with self._changing:
            self._known[key] = value
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        return value


def _wait_for(others: Future[ValueT]) -> None:
    caller = current_caller()
    while not others.done():
        try:
            others.exception(timeout=_LOOK_S)
        except TimeoutError:
            if caller is not None:
                caller.require()
