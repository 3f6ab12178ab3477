"""Observability hooks: work and its stages are timed and reported to observers."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from app.observability.hooks import Observer, ObserverGroup, Operation


class Recorder(Observer):
    """Records all events in order."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def span(self, name: str, /) -> AbstractContextManager[object]:
        return self._during(name)

    @contextmanager
    def _during(self, name: str) -> Iterator[None]:
        self.events.append(f"<{name}")
        try:
            yield
        finally:
            self.events.append(f"{name}>")

    def on_success(self, work: Operation) -> None:
        self.events.append((f"{work.name} ended", dict(work.attributes)))

    def on_rejected(self, code: str) -> None:
        self.events.append(code)


@pytest.fixture
def observers() -> ObserverGroup:
    return ObserverGroup()


@pytest.fixture
def recorder(observers: ObserverGroup) -> Recorder:
    created = Recorder()
    observers.add(created)
    return created


def test_stages_are_reported_within_their_work(observers: ObserverGroup, recorder: Recorder) -> None:
    with observers.operation("search") as work:
        with work.stage("decode"):
            pass
        work.attributes["matches"] = 3
    assert recorder.events == ["<search", "<decode", "decode>", ("search ended", {"matches": 3}), "search>"]


def test_failed_work_is_not_reported_as_ended(observers: ObserverGroup, recorder: Recorder) -> None:
    with pytest.raises(ZeroDivisionError), observers.operation("search") as work, work.stage("decode"):
        _ = 1 / 0
    assert recorder.events == ["<search", "<decode", "decode>", "search>"]
    assert list(work.stages) == ["decode"], "also timed on failure"


def test_times_of_a_repeated_stage_are_added(observers: ObserverGroup) -> None:
    with observers.operation("search") as work:
        for _ in range(2):
            with work.stage("catalogue"):
                time.sleep(0.01)
    assert 20 <= work.stages["catalogue"] <= work.timings()["total"]


def test_all_observers_get_events(observers: ObserverGroup, recorder: Recorder) -> None:
    other = Recorder()
    observers.add(other)
    observers.on_rejected("image_damaged")
    assert recorder.events == other.events == ["image_damaged"]


def test_stage_without_observers_costs_microseconds(observers: ObserverGroup) -> None:
    started, stages = time.perf_counter(), 2_000
    with observers.operation("search") as work:
        for _ in range(stages):
            with work.stage("decode"):
                pass
    assert (time.perf_counter() - started) / stages < 100e-6
