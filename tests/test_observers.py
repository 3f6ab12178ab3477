"""Work and its stages: timed, told to whoever listens, and to nobody where nobody does."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from app.observability.hooks import Observer, Observers, Work


class Ear(Observer):
    """Keeps what it hears, in order."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def during(self, name: str, /) -> AbstractContextManager[object]:
        return self._during(name)

    @contextmanager
    def _during(self, name: str) -> Iterator[None]:
        self.heard.append(f"<{name}")
        try:
            yield
        finally:
            self.heard.append(f"{name}>")

    def ended(self, work: Work) -> None:
        self.heard.append((f"{work.name} ended", dict(work.facts)))

    def refused(self, code: str) -> None:
        self.heard.append(code)


@pytest.fixture
def observers() -> Observers:
    return Observers()


@pytest.fixture
def ear(observers: Observers) -> Ear:
    made = Ear()
    observers.add(made)
    return made


def test_stages_are_told_inside_of_their_work(observers: Observers, ear: Ear) -> None:
    with observers.work("search") as work:
        with work.stage("decode"):
            pass
        work.facts["matches"] = 3
    assert ear.heard == ["<search", "<decode", "decode>", ("search ended", {"matches": 3}), "search>"]


def test_work_that_fails_does_not_end(observers: Observers, ear: Ear) -> None:
    with pytest.raises(ZeroDivisionError), observers.work("search") as work, work.stage("decode"):
        _ = 1 / 0
    assert ear.heard == ["<search", "<decode", "decode>", "search>"]
    assert list(work.stages) == ["decode"], "timed all the same"


def test_a_stage_that_is_entered_twice_counts_together(observers: Observers) -> None:
    with observers.work("search") as work:
        for _ in range(2):
            with work.stage("catalogue"):
                time.sleep(0.01)
    assert 20 <= work.stages["catalogue"] <= work.total()["total"]


def test_all_who_listen_hear(observers: Observers, ear: Ear) -> None:
    other = Ear()
    observers.add(other)
    observers.refused("image_damaged")
    assert ear.heard == other.heard == ["image_damaged"]


def test_where_nobody_listens_a_stage_costs_microseconds(observers: Observers) -> None:
    begun, stages = time.perf_counter(), 2_000
    with observers.work("search") as work:
        for _ in range(stages):
            with work.stage("decode"):
                pass
    assert (time.perf_counter() - begun) / stages < 100e-6
