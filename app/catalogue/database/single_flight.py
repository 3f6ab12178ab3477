"""Single-flight calls: concurrent callers with the same key share one call, optionally with a result cache."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from app.catalogue.database.cancellation import current_caller
from app.errors import ClientDisconnectedError

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")

# Interval at which a waiting thread checks that its own client is still connected.
_CHECK_INTERVAL_S = 0.5


class SingleFlight(Generic[KeyT, ValueT]):
    """Run at most one call per key at a time; all waiting threads get its result or exception.

    When the caller of the running call disconnects, a waiting thread starts the call again.
    """

    def __init__(self) -> None:
        self._running: dict[KeyT, Future[ValueT]] = {}
        self._lock = threading.Lock()

    def run(self, key: KeyT, work: Callable[[], ValueT]) -> ValueT:
        """Return the result of `work`, or that of a call in progress under the same key.

        Raises:
            CallerLeftError: this thread's own client has disconnected.
        """
        while True:
            with self._lock:
                running = self._running.get(key)
                own = Future[ValueT]()
                if running is None:
                    self._running[key] = own
            if running is None:
                return self._lead(key, own, work)
            _wait_for(running)
            if not isinstance(running.exception(), ClientDisconnectedError):
                return running.result()

    def _lead(self, key: KeyT, own: Future[ValueT], work: Callable[[], ValueT]) -> ValueT:
        try:
            value = work()
        except BaseException as error:
            self._finish(key)
            own.set_exception(error)
            raise
        self._finish(key)
        own.set_result(value)
        return value

    def _finish(self, key: KeyT) -> None:
        with self._lock:
            del self._running[key]


class ResultCache(Generic[KeyT, ValueT]):
    """`SingleFlight` with an LRU cache of `max_entries` results.

    Keys include the catalogue's `seq`, so that no cached result is stale.
    """

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._results: OrderedDict[KeyT, ValueT] = OrderedDict()
        self._lock = threading.Lock()
        self._flights: SingleFlight[KeyT, ValueT] = SingleFlight()

    def get(self, key: KeyT, work: Callable[[], ValueT]) -> ValueT:
        """Return the cached result, that of a call in progress, or that of `work`."""
        with self._lock:
            if key in self._results:
                self._results.move_to_end(key)
                return self._results[key]
        return self._flights.run(key, lambda: self._call_and_store(key, work))

    def _call_and_store(self, key: KeyT, work: Callable[[], ValueT]) -> ValueT:
        value = work()
        with self._lock:
            self._results[key] = value
            while len(self._results) > self._max_entries:
                self._results.popitem(last=False)
        return value


def _wait_for(running: Future[ValueT]) -> None:
    caller = current_caller()
    while not running.done():
        try:
            running.exception(timeout=_CHECK_INTERVAL_S)
        except TimeoutError:
            if caller is not None:
                caller.require_connected()
