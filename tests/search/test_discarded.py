"""Slots that were given up are handed out once, late enough and not too few."""

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from app.search.discarded import Discarded


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
    discarded = Discarded(patience=0.0, at_least=3)
    discarded.add(np.array([1, 2]))
    assert discarded.due().tolist() == []
    discarded.add(np.array([3, 4]))
    assert discarded.due().tolist() == [1, 2, 3, 4]
    assert discarded.due().tolist() == []


def test_many_threads_are_given_each_slot_once() -> None:
    discarded = Discarded(patience=0.0, at_least=5)

    def give_up_and_take(slot: int) -> list[int]:
        discarded.add(np.array([slot]))
        return list(discarded.due())

    with ThreadPoolExecutor(8) as threads:
        taken = [slot for some in threads.map(give_up_and_take, range(2000)) for slot in some]
    # Four at most are too few to be handed out.
    rest = [slot for more in range(2000, 2005) for slot in give_up_and_take(more)]
    assert sorted([*taken, *rest])[:2000] == list(range(2000))
