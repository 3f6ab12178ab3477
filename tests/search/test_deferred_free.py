"""Freed slots are returned once, after the delay, and in batches of a minimum size."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from app.search.local.deferred_free import DeferredFree


def test_slots_are_due_after_the_delay() -> None:
    deferred = DeferredFree(delay=0.2)
    deferred.add(np.array([3, 1]))
    assert deferred.due().tolist() == []
    time.sleep(0.2)
    deferred.add(np.array([2]))
    assert deferred.due().tolist() == [3, 1]
    assert deferred.due().tolist() == []
    time.sleep(0.2)
    assert deferred.due().tolist() == [2]


def test_slots_are_due_in_batches_of_at_least_the_minimum() -> None:
    deferred = DeferredFree(delay=0.0)
    deferred.add(np.array([1, 2]))
    assert deferred.due(3).tolist() == []
    deferred.add(np.array([3, 4]))
    assert deferred.due(3).tolist() == [1, 2, 3, 4]
    assert deferred.due(3).tolist() == []


def test_concurrent_threads_get_each_slot_once() -> None:
    deferred = DeferredFree(delay=0.0)

    def add_and_take(slot: int) -> list[int]:
        deferred.add(np.array([slot]))
        return list(deferred.due(5))

    with ThreadPoolExecutor(8) as threads:
        taken = [slot for due in threads.map(add_and_take, range(2000)) for slot in due]
    assert sorted([*taken, *deferred.due()]) == list(range(2000))
