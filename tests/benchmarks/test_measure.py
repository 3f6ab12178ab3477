"""Memory use of a process."""

import os

from benchmarks.measure import memory_of


def test_memory_of_reads_a_process_with_and_without_mapped_files() -> None:
    everything, own = memory_of(os.getpid()), memory_of(os.getpid(), "RssAnon")
    assert 1_000_000 < own < everything
    assert memory_of(0) == 0, "no such process"
