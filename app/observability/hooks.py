"""Pieces of work and their stages, and who hears of them.

A search or an addition names its stages here, which times them. Metrics and traces are observers: they hear of every
piece of work that ends, and of the pictures that are refused. Knows nothing of what they make of it.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field


@dataclass
class Work:
    """A piece of work under way.

    Attributes:
        name: what is done, such as `search`.
        stages: milliseconds by stage.
        facts: what else is to be said of it.
    """

    name: str
    observers: "Observers"
    stages: dict[str, float] = field(default_factory=dict)
    facts: dict[str, str | int] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times a stage; one that is entered twice counts together."""
        begun = time.perf_counter()
        try:
            with self.observers.during(name):
                yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + 1000 * (time.perf_counter() - begun)

    def total(self) -> dict[str, float]:
        """Returns the milliseconds of the stages, and those of everything so far."""
        return {**self.stages, "total": 1000 * (time.perf_counter() - self.started)}


class Observer:
    """Hears of work, in the thread that does it; what it does not ask for it does not hear."""

    def during(self, _name: str, /) -> AbstractContextManager[object]:
        """Returns what is entered when a piece of work or a stage begins, and left when it ends."""
        return nullcontext()

    def ended(self, work: Work) -> None:
        """Hears of a piece of work that has done what it was to do, before what `during` returned for it is left."""

    def refused(self, code: str) -> None:
        """Hears of a picture that cannot be used; see `PictureRefusedError.code`."""


class Observers(Observer):
    """All who hear of the service's work."""

    def __init__(self) -> None:
        self._all: list[Observer] = []

    def add(self, observer: Observer) -> None:
        """Has another one hear of what is done from now on."""
        self._all.append(observer)

    @contextmanager
    def work(self, name: str) -> Iterator[Work]:
        """Tells of a piece of work, for the length of the block."""
        work = Work(name, self)
        with self.during(name):
            yield work
            self.ended(work)

    def during(self, name: str, /) -> AbstractContextManager[object]:
        """Tells that something goes on, for the length of the block."""
        # Mostly there is one, and a search has many stages.
        return self._all[0].during(name) if len(self._all) == 1 else self._together(name)

    def ended(self, work: Work) -> None:
        """Tells that a piece of work has done what it was to do."""
        for observer in self._all:
            observer.ended(work)

    def refused(self, code: str) -> None:
        """Tells that a picture cannot be used."""
        for observer in self._all:
            observer.refused(code)

    @contextmanager
    def _together(self, name: str) -> Iterator[None]:
        with ExitStack() as stack:
            for observer in self._all:
                stack.enter_context(observer.during(name))
            yield
