"""Single-flight calls and their result cache."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.catalogue.database.cancellation import Caller, set_caller
from app.catalogue.database.single_flight import ResultCache, SingleFlight
from app.errors import ClientDisconnectedError, UnavailableError
from tests.catalogue.slow_statements import wait_until

MANY = 8


class Work:
    """A call that blocks until it is released, and counts its starts."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.started, self.fails, self.released = 0, fails, threading.Event()

    def __call__(self) -> int:
        self.started += 1
        assert self.released.wait(30)
        if self.fails is not None:
            raise self.fails
        return self.started


class Key:
    """A key that counts its look-ups: one per thread, and one more by the running one."""

    def __init__(self) -> None:
        self.looked_up = 0

    def __hash__(self) -> int:
        self.looked_up += 1
        return 1


def test_concurrent_calls_share_one_result() -> None:
    flights, work, key = SingleFlight[Key, int](), Work(), Key()
    with ThreadPoolExecutor(MANY) as threads:
        calls = [threads.submit(flights.run, key, work) for _ in range(MANY)]
        wait_until(lambda: key.looked_up == MANY + 1)
        other = Work()
        other.released.set()
        assert flights.run(Key(), other) == 1
        work.released.set()
        assert {one.result(30) for one in calls} == {1}
    assert flights.run(key, work) == 2, "results are not cached"


def test_concurrent_calls_share_an_exception() -> None:
    flights, work, key = SingleFlight[Key, int](), Work(UnavailableError("not now")), Key()
    with ThreadPoolExecutor(MANY) as threads:
        calls = [threads.submit(flights.run, key, work) for _ in range(MANY)]
        wait_until(lambda: key.looked_up == MANY + 1)
        work.released.set()
        for one in calls:
            with pytest.raises(UnavailableError, match="not now"):
                one.result(30)
    assert work.started == 1


def test_waiting_thread_retries_when_the_running_caller_disconnects() -> None:
    flights, first, second, key = SingleFlight[Key, int](), Work(ClientDisconnectedError()), Work(), Key()
    with ThreadPoolExecutor(2) as threads:
        left = threads.submit(flights.run, key, first)
        wait_until(lambda: first.started == 1)
        stays = threads.submit(flights.run, key, second)
        wait_until(lambda: key.looked_up == 2 + 1)
        first.released.set()
        second.released.set()
        assert stays.result(30) == 1
        with pytest.raises(ClientDisconnectedError):
            left.result(30)


def test_waiting_thread_stops_when_its_caller_disconnects() -> None:
    flights, work, caller = SingleFlight[str, int](), Work(), Caller()

    def wait() -> int:
        with set_caller(caller):
            return flights.run("key", work)

    with ThreadPoolExecutor(2) as threads:
        at_work = threads.submit(flights.run, "key", work)
        wait_until(lambda: work.started == 1)
        waits = threads.submit(wait)
        caller.cancel()
        with pytest.raises(ClientDisconnectedError):
            waits.result(30)
        work.released.set()
        assert at_work.result(30) == 1


def test_most_recently_used_results_are_cached() -> None:
    cache, calls = ResultCache[int, int](2), list[int]()

    def get(key: int) -> int:
        def compute() -> int:
            calls.append(key)
            return key

        return cache.get(key, compute)

    assert [get(key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert calls == [1, 2, 3, 2]
