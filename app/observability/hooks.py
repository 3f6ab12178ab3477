"""Instrumentation hooks: timed operations with stages, and observers that are notified of them.

Searches and ingests time their stages here. Metrics and tracing are observers, notified of every finished operation
and every rejected image.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field


@dataclass
class Work:
    """An operation under way.

    Attributes:
        name: kind of operation, such as `search`.
        stages: milliseconds by stage.
        facts: further attributes for metrics and traces.
    """

    name: str
    observers: "Observers"
    stages: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str | int] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage; the times of a stage that is entered twice are added."""
        start = time.perf_counter()
        try:
            with self.observers.during(name):
                yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + 1000 * (time.perf_counter() - start)

    def total(self) -> dict[str, float]:
        """Return the milliseconds of each stage, and of the operation so far as `total`."""
        return {**self.stages, "total": 1000 * (time.perf_counter() - self.started)}


class Observer:
    """Base class of observers, called in the thread that does the work. Methods do nothing unless overridden."""

    def during(self, _name: str, /) -> AbstractContextManager[object]:
        """Return a context manager to enter for the duration of an operation or a stage."""
        return nullcontext()

    def ended(self, work: Work) -> None:
        """Called when an operation has succeeded, before the context manager from `during` exits."""

    def refused(self, code: str) -> None:
        """Called when an image is rejected, with `PictureRefusedError.code`."""


class Observers(Observer):
    """Observer that forwards to all registered observers."""

    def __init__(self) -> None:
        self._all: list[Observer] = []

    def add(self, observer: Observer) -> None:
        """Register an observer."""
        self._all.append(observer)

    @contextmanager
    def work(self, name: str) -> Iterator[Work]:
        """Observe an operation for the length of the block; `ended` is called only if it succeeds."""
        work = Work(name, self)
        with self.during(name):
            yield work
            self.ended(work)

    def during(self, name: str, /) -> AbstractContextManager[object]:
        """Enter `during` of all observers for the length of the block."""
        # Fast path: usually there is one observer, and a search has many stages.
        return self._all[0].during(name) if len(self._all) == 1 else self._during_all(name)

    def ended(self, work: Work) -> None:
        """Notify all observers that an operation has succeeded."""
        for observer in self._all:
            observer.ended(work)

    def refused(self, code: str) -> None:
        """Notify all observers that an image was rejected."""
        for observer in self._all:
            observer.refused(code)

    @contextmanager
    def _during_all(self, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            for observer in self._all:
                stack.enter_context(observer.during(name))
            yield
