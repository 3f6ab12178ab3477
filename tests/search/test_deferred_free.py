"""Slots that were given up are handed out once, late enough and not too few."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from app.search.local.deferred_free import Discarded


def test_slots_wait_until_their_time_has_come() -> None:
    discarded = Discarded(patience=0.2)
    discarded.add(np.array([3, 1]))
    assert discarded.due().tolist() == []
    time.sleep(0.2)
    discarded.add(np.array([2]))
    assert discarded.due().tolist() == [3, 1]
    assert discarded.due().tolist() == []
    time.sleep(0.2)
    assert discarded.due().tolist() == [2]


def test_slots_wait_until_there_are_enough() -> None:
    discarded = Discarded(patience=0.0)
    discarded.add(np.array([1, 2]))
    assert discarded.due(3).tolist() == []
    discarded.add(np.array([3, 4]))
    assert discarded.due(3).tolist() == [1, 2, 3, 4]
    assert discarded.due(3).tolist() == []


def test_many_threads_are_given_each_slot_once() -> None:
    discarded = Discarded(patience=0.0)

    def give_up_and_take(slot: int) -> list[int]:
        discarded.add(np.array([slot]))
        return list(discarded.due(5))

    with ThreadPoolExecutor(8) as threads:
        taken = [slot for some in threads.map(give_up_and_take, range(2000)) for slot in some]
    assert sorted([*taken, *discarded.due()]) == list(range(2000))
