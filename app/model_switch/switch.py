"""Zero-downtime switch between index versions.

Before the catalogue switches to another index version, every process opens it beside its own (`prepare`). The first
request that meets the switch activates the new version and is repeated with it; requests in progress end with the old
one, which is then closed. Independent of what an index version consists of.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Generic, Protocol, TypeVar

from app.catalogue.advisory_registry import VersionLocks, VersionUse, lock_holders, version_locks
from app.catalogue.database.sessions import Database
from app.catalogue.index_versions import active_version_id
from app.errors import LookalikeError, ModelSwitchedError, UnavailableError
from models.errors import ModelError

log = logging.getLogger(__name__)

_POLL_S, _RETRY_S = 1.0, 10.0
# The start waits for the first poll, at most this long.
_FIRST_POLL_TIMEOUT_S = 10.0


class Switchable(Protocol):
    """An open index version."""

    @property
    def index_version_id(self) -> int:
        """Its id."""
        ...

    def activate(self) -> None:
        """Called when it becomes the active one."""
        ...


OpenedT = TypeVar("OpenedT", bound=Switchable)
Result = TypeVar("Result")


class _RefCounted(Generic[OpenedT]):
    """A reference-counted resource; closed when it is retired and its last user has left."""

    def __init__(self, manager: AbstractContextManager[OpenedT]) -> None:
        self._manager, self.opened = manager, manager.__enter__()
        self._users, self._retired, self._counting = 0, False, threading.Lock()

    def enter(self) -> bool:
        """Add a user; return False if the resource is retired."""
        with self._counting:
            self._users += not self._retired
            return not self._retired

    def leave(self) -> None:
        """Remove a user; close the resource if it was the last one of a retired resource."""
        with self._counting:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._manager.__exit__(None, None, None)

    def retire(self) -> None:
        """Accept no more users; close the resource once it has none."""
        with self._counting:
            idle = not self._retired and not self._users
            self._retired = True
        if idle:
            self._manager.__exit__(None, None, None)


class ModelSwitch(Generic[OpenedT]):
    """The active index version of this process, and those prepared to follow it.

    Args:
        first: the index version to start with.
        following: opens another one by its id, before the catalogue uses it.
    """

    def __init__(
        self,
        first: AbstractContextManager[OpenedT],
        following: Callable[[int], AbstractContextManager[OpenedT]],
    ) -> None:
        self._open_version, self._changing = following, threading.Lock()
        self._current, self._next = _RefCounted(first), list[_RefCounted[OpenedT]]()

    @property
    def active(self) -> OpenedT:
        """The active index version. Outside of `do` it may be closed at any time."""
        return self._current.opened

    @property
    def open_ids(self) -> set[int]:
        """The ids of all open index versions."""
        return {held.opened.index_version_id for held in (self._current, *self._next)}

    def run(self, work: Callable[[OpenedT], Result]) -> Result:
        """Run a function with the active index version, again with the new one if the catalogue has switched.

        Raises:
            UnavailableError: the catalogue has switched to a network that cannot be opened here.
        """
        while True:
            try:
                with self._acquired() as opened:
                    return work(opened)
            except ModelSwitchedError as moved:
                if moved.index_version_id is None:
                    raise
                self.switch_to(moved.index_version_id)

    def prepare(self, index_version_id: int) -> None:
        """Open an index version that the catalogue will use soon."""
        with self._changing:
            if index_version_id not in self.open_ids:
                self._next.append(self._open(index_version_id))
                log.info("index version %d prepared", index_version_id)

    def switch_to(self, index_version_id: int) -> None:
        """Activate an index version; requests in progress end with the old one.

        Raises:
            UnavailableError: it cannot be opened.
        """
        with self._changing:
            before = self._current
            if before.opened.index_version_id == index_version_id:
                return
            ready = [held for held in self._next if held.opened.index_version_id == index_version_id]
            following = ready[0] if ready else self._open(index_version_id)
            following.opened.activate()
            self._next = [held for held in self._next if held is not following]
            self._current = following
        log.info("switched to index version %d", index_version_id)
        before.retire()

    def discard_prepared_except(self, wanted: set[int]) -> None:
        """Close prepared index versions that are no longer wanted."""
        with self._changing:
            dropped = [held for held in self._next if held.opened.index_version_id not in wanted]
            self._next = [held for held in self._next if held not in dropped]
        for held in dropped:
            held.retire()

    def close(self) -> None:
        """Close everything, each once its requests have ended."""
        self.discard_prepared_except(set())
        self._current.retire()

    @contextmanager
    def _acquired(self) -> Iterator[OpenedT]:
        held = self._current
        while not held.enter():
            if held is self._current:
                raise UnavailableError("The service is stopping.")
            held = self._current
        try:
            yield held.opened
        finally:
            held.leave()

    def _open(self, index_version_id: int) -> _RefCounted[OpenedT]:
        try:
            return _RefCounted(self._open_version(index_version_id))
        except (LookalikeError, ModelError, OSError) as error:
            raise UnavailableError(
                f"The catalogue has switched to a network that cannot be opened here: {error} "
                "Fix this, or switch back with `lookalike reindex`. Restart the service if that does not help."
            ) from error


class SwitchWatcher:
    """Poll for model switches every second, and publish which index versions are open in this process."""

    def __init__(self, database: Database, model_switch: ModelSwitch[OpenedT]) -> None:
        self._database, self._model_switch = database, model_switch
        self._ending, self._polled = threading.Event(), threading.Event()
        self._failed = dict[int, float]()
        self._thread = threading.Thread(target=self._run, name="model-switch", daemon=True)

    def __enter__(self) -> "SwitchWatcher":
        self._thread.start()
        self._polled.wait(_FIRST_POLL_TIMEOUT_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ending.is_set():
            try:
                with version_locks(self._database) as present:
                    self._poll_until_stopped(present)
            except UnavailableError as error:
                # Requests report this error themselves.
                log.info("polling for a model switch failed: %s", error)
                self._ending.wait(_POLL_S)
            except Exception:  # without this thread the process would miss every later switch
                log.exception("polling for a model switch failed")
                self._ending.wait(_RETRY_S)

    def _poll_until_stopped(self, present: VersionLocks) -> None:
        while True:
            self._poll(present)
            self._polled.set()
            if self._ending.wait(_POLL_S):
                return

    def _poll(self, present: VersionLocks) -> None:
        # In this order: a process drops its WANTED lock after it has switched to that index version, or has failed.
        wanted = set(lock_holders(present.connection, VersionUse.WANTED))
        used = active_version_id(present.connection)
        if used is not None:
            self._try(used, self._model_switch.switch_to)
        for index_version_id in wanted:
            self._try(index_version_id, self._model_switch.prepare)
        self._model_switch.discard_prepared_except(wanted)
        present.hold_only(VersionUse.OPEN, self._model_switch.open_ids)

    def _try(self, index_version_id: int, step: Callable[[int], None]) -> None:
        """Run a step; after a failure skip it for a while, unless a request needs it sooner."""
        if time.monotonic() < self._failed.get(index_version_id, 0.0):
            return
        try:
            step(index_version_id)
        except UnavailableError as error:
            log.warning("%s", error)
            self._failed[index_version_id] = time.monotonic() + _RETRY_S
