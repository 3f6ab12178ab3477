"""Instrumentation hooks: timed operations with stages, and observers that are notified of them.

Searches and ingests time their stages here. Metrics and tracing are observers, notified of every finished operation
and every rejected image.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Operation:
    """An operation under way.

    Attributes:
        name: kind of operation, such as `search`.
        stages: milliseconds by stage.
        facts: further attributes for metrics and traces.
    """

    name: str
    observers: "ObserverGroup"
    stages: dict[str, float] = field(default_factory=dict)
    attributes: dict[str, str | int] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    def stage(self, name: str) -> "Stage":
        """Time a stage; the times of a stage that is entered twice are added."""
        return Stage(self, name)

    def timings(self) -> dict[str, float]:
        """Return the milliseconds of each stage, and of the operation so far as `total`."""
        return {**self.stages, "total": 1000 * (time.perf_counter() - self.started)}


class Stage:
    """Context manager of `Operation.stage`: a class, because generators cost more, and a search has many stages."""

    __slots__ = ("_name", "_span", "_start", "_work")

    def __init__(self, work: Operation, name: str) -> None:
        self._work, self._name, self._span = work, name, work.observers.span(name)

    def __enter__(self) -> None:
        self._start = time.perf_counter()
        self._span.__enter__()

    def __exit__(self, *error: Any) -> None:
        try:
            self._span.__exit__(*error)
        finally:
            stages = self._work.stages
            stages[self._name] = stages.get(self._name, 0.0) + 1000 * (time.perf_counter() - self._start)


class Observer:
    """Base class of observers, called in the thread that does the work. Methods do nothing unless overridden."""

    def span(self, _name: str, /) -> AbstractContextManager[object]:
        """Return a context manager to enter for the duration of an operation or a stage."""
        return nullcontext()

    def on_success(self, work: Operation) -> None:
        """Called when an operation has succeeded, before the context manager from `span` exits."""

    def on_rejected(self, code: str) -> None:
        """Called when an image is rejected, with `ImageRejectedError.code`."""


class ObserverGroup(Observer):
    """Observer that forwards to all registered observers."""

    def __init__(self) -> None:
        self._all: list[Observer] = []

    def add(self, observer: Observer) -> None:
        """Register an observer."""
        self._all.append(observer)

    @contextmanager
    def operation(self, name: str) -> Iterator[Operation]:
        """Observe an operation for the length of the block; `on_success` is called only if it succeeds."""
        work = Operation(name, self)
        with self.span(name):
            yield work
            self.on_success(work)

    def span(self, name: str, /) -> AbstractContextManager[object]:
        """Enter `span` of all observers for the length of the block."""
        # Fast path: usually there is one observer, and a search has many stages.
        return self._all[0].span(name) if len(self._all) == 1 else self._span_all(name)

    def on_success(self, work: Operation) -> None:
        """Notify all observers that an operation has succeeded."""
        for observer in self._all:
            observer.on_success(work)

    def on_rejected(self, code: str) -> None:
        """Notify all observers that an image was rejected."""
        for observer in self._all:
            observer.on_rejected(code)

    @contextmanager
    def _span_all(self, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            for observer in self._all:
                stack.enter_context(observer.span(name))
            yield
