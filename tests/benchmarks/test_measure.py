"""What the benchmarks ask the kernel."""

import os

from benchmarks.measure import memory_of


def test_memory_is_that_of_a_process_and_files_can_be_left_out() -> None:
    everything, own = memory_of(os.getpid()), memory_of(os.getpid(), "RssAnon")
    assert 1_000_000 < own < everything
    assert memory_of(0) == 0, "there is no such process"
