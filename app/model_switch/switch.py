"""Going over from one network to the next while requests are under way, so that none of them fails or waits.

Before the catalogue moves to another network, every process opens that network's generation beside its own
(`prepare`). The first request that finds the catalogue moved goes over and is done again with the new one; requests
that the old one is at work on end with it, and then it is closed. Knows nothing of networks.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

from app.catalogue.advisory_registry import Presence, Role, held_by, presence
from app.catalogue.database.sessions import Database
from app.catalogue.generations import id_in_use
from app.errors import CatalogueMovedError, LookalikeError, UnavailableError
from models.errors import ModelError

log = logging.getLogger(__name__)

_EVERY_S, _AGAIN_S = 1.0, 10.0
# Long enough for the first look of a start, which others wait for.
_FIRST_LOOK_S = 10.0


class Opened(Protocol):
    """A generation that can answer."""

    @property
    def generation_id(self) -> int:
        """Which one."""
        ...

    def take_over(self) -> None:
        """Hears that from now on it is the one that answers."""
        ...


OpenedT = TypeVar("OpenedT", bound=Opened)
Result = TypeVar("Result")


class _Held(Generic[OpenedT]):
    """What is open, and how many requests it is at work on; closed when it is retired and the last of them ends."""

    def __init__(self, manager: AbstractContextManager[OpenedT]) -> None:
        self._manager, self.opened = manager, manager.__enter__()
        self._users, self._retired, self._counting = 0, False, threading.Lock()

    def enter(self) -> bool:
        """Counts a user; tells whether there is still something to use."""
        with self._counting:
            self._users += not self._retired
            return not self._retired

    def leave(self) -> None:
        """Counts a user less."""
        with self._counting:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._manager.__exit__(None, None, None)

    def retire(self) -> None:
        """Takes no more users."""
        with self._counting:
            idle = not self._retired and not self._users
            self._retired = True
        if idle:
            self._manager.__exit__(None, None, None)


class Handover(Generic[OpenedT]):
    """The generation that this process answers with, and the one that comes next.

    Args:
        first: the generation to begin with.
        following: opens another one by its id, before the catalogue uses it.
    """

    def __init__(
        self,
        first: AbstractContextManager[OpenedT],
        following: Callable[[int], AbstractContextManager[OpenedT]],
    ) -> None:
        self._following, self._changing = following, threading.Lock()
        self._current, self._next = _Held(first), list[_Held[OpenedT]]()

    @property
    def current(self) -> OpenedT:
        """The generation that answers now; may be closed any time that it is not in use by `do`."""
        return self._current.opened

    @property
    def open_ids(self) -> set[int]:
        """The generations that this process can answer with."""
        return {held.opened.generation_id for held in (self._current, *self._next)}

    def do(self, work: Callable[[OpenedT], Result]) -> Result:
        """Has the current generation do something; the next one does it again where the catalogue has moved.

        Raises:
            UnavailableError: the catalogue has moved to a network that cannot be opened here.
        """
        while True:
            try:
                with self._using() as opened:
                    return work(opened)
            except CatalogueMovedError as moved:
                if moved.generation_id is None:
                    raise
                self.go_over(moved.generation_id)

    def prepare(self, generation_id: int) -> None:
        """Opens a generation that the catalogue will use soon."""
        with self._changing:
            if generation_id not in self.open_ids:
                self._next.append(self._open(generation_id))
                log.info("ready to go over to generation %d", generation_id)

    def go_over(self, generation_id: int) -> None:
        """Answers with the generation that the catalogue uses; what the old one is at work on it ends.

        Raises:
            UnavailableError: it cannot be opened.
        """
        with self._changing:
            before = self._current
            if before.opened.generation_id == generation_id:
                return
            ready = [held for held in self._next if held.opened.generation_id == generation_id]
            following = ready[0] if ready else self._open(generation_id)
            following.opened.take_over()
            self._next = [held for held in self._next if held is not following]
            self._current = following
        log.info("went over to generation %d", generation_id)
        before.retire()

    def keep_only(self, wanted: set[int]) -> None:
        """Closes what was prepared and is no longer wanted."""
        with self._changing:
            dropped = [held for held in self._next if held.opened.generation_id not in wanted]
            self._next = [held for held in self._next if held not in dropped]
        for held in dropped:
            held.retire()

    def close(self) -> None:
        """Closes everything as soon as nobody is at work on it."""
        self.keep_only(set())
        self._current.retire()

    @contextmanager
    def _using(self) -> Iterator[OpenedT]:
        held = self._current
        while not held.enter():
            if held is self._current:
                raise UnavailableError("The service is stopping.")
            held = self._current
        try:
            yield held.opened
        finally:
            held.leave()

    def _open(self, generation_id: int) -> _Held[OpenedT]:
        try:
            return _Held(self._following(generation_id))
        except (LookalikeError, ModelError, OSError) as error:
            raise UnavailableError(
                f"The catalogue uses another network now, which cannot be opened here: {error} "
                "Put that right, or move back with `lookalike reindex`. Restart the service if that does not help."
            ) from error


class Watch:
    """Looks every second whether the catalogue will move or has moved, and tells others what is open here."""

    def __init__(self, database: Database, handover: Handover[OpenedT]) -> None:
        self._database, self._handover = database, handover
        self._ending, self._looked = threading.Event(), threading.Event()
        self._failed = dict[int, float]()
        self._thread = threading.Thread(target=self._run, name="handover", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        self._looked.wait(_FIRST_LOOK_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with presence(self._database) as present:
                    self._look_until_it_ends(present)
            except UnavailableError as error:
                # Requests say so themselves; here it is only tried again.
                log.info("cannot look whether the catalogue moves: %s", error)
                self._ending.wait(_EVERY_S)
            except Exception:  # nobody would start this thread again, and its process would miss every later move
                log.exception("cannot look whether the catalogue moves")
                self._ending.wait(_AGAIN_S)

    def _look_until_it_ends(self, present: Presence) -> None:
        while True:
            self._look(present)
            self._looked.set()
            if self._ending.wait(_EVERY_S):
                return

    def _look(self, present: Presence) -> None:
        # In this order: who no longer wants a generation to be prepared has made it the one in use, or given up.
        wanted = set(held_by(present.connection, Role.WANTED))
        used = id_in_use(present.connection)
        if used is not None:
            self._try(used, self._handover.go_over)
        for generation_id in wanted:
            self._try(generation_id, self._handover.prepare)
        self._handover.keep_only(wanted)
        present.hold_only(Role.OPEN, self._handover.open_ids)

    def _try(self, generation_id: int, step: Callable[[int], None]) -> None:
        """Takes a step; one that failed is tried again after a while, sooner only by a request that needs it."""
        if time.monotonic() < self._failed.get(generation_id, 0.0):
            return
        try:
            step(generation_id)
        except UnavailableError as error:
            log.warning("%s", error)
            self._failed[generation_id] = time.monotonic() + _AGAIN_S
