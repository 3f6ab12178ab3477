"""Model switch: requests during a switch succeed, and old index versions are closed."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import func, select

from app.catalogue import index_versions
from app.catalogue.advisory_registry import VersionUse, lock_holders, version_locks
from app.catalogue.database.sessions import Database
from app.errors import ModelSwitchedError, UnavailableError
from app.model_switch.switch import ModelSwitch, SwitchWatcher
from models.checkpoint.info import CheckpointInfo
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK


@dataclass
class FakeCatalogue:
    """Fake catalogue: the active index version, and those opened and closed."""

    in_use: int = 1
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)

    def model_switch(self) -> ModelSwitch["Version"]:
        return ModelSwitch(self.open(1), self.open)

    @contextmanager
    def open(self, index_version_id: int) -> Iterator["Version"]:
        if index_version_id in self.missing:
            raise UnavailableError(f"There is no model of index version {index_version_id}.")
        self.opened.append(index_version_id)
        yield Version(index_version_id, self)
        self.closed.append(index_version_id)


@dataclass
class Version:
    index_version_id: int
    catalogue: FakeCatalogue
    taken_over: bool = False

    def activate(self) -> None:
        self.taken_over = True

    def answer(self) -> int:
        assert self.index_version_id not in self.catalogue.closed
        if self.catalogue.in_use != self.index_version_id:
            raise ModelSwitchedError(self.catalogue.in_use)
        return self.index_version_id


def test_request_during_a_switch_is_repeated_with_the_new_version() -> None:
    catalogue = FakeCatalogue()
    with closing(catalogue.model_switch()) as model_switch:
        assert model_switch.run(Version.answer) == 1
        catalogue.in_use = 2
        assert model_switch.run(Version.answer) == 2
        assert model_switch.active.taken_over
        assert (catalogue.opened, catalogue.closed) == ([1, 2], [1])
    assert catalogue.closed == [1, 2]


def test_prepared_version_is_not_opened_again() -> None:
    catalogue = FakeCatalogue()
    with closing(catalogue.model_switch()) as model_switch:
        model_switch.prepare(2)
        model_switch.prepare(2)
        assert model_switch.open_ids == {1, 2}
        assert model_switch.run(Version.answer) == 1
        catalogue.in_use = 2
        assert model_switch.run(Version.answer) == 2
        assert catalogue.opened == [1, 2]


def test_prepared_version_that_is_no_longer_wanted_is_closed() -> None:
    catalogue = FakeCatalogue()
    with closing(catalogue.model_switch()) as model_switch:
        model_switch.prepare(2)
        model_switch.discard_prepared_except({2})
        assert catalogue.closed == []
        model_switch.discard_prepared_except(set())
        assert catalogue.closed == [2]
        assert model_switch.run(Version.answer) == 1


def test_old_version_is_closed_after_its_last_request() -> None:
    catalogue, begun, may_end = FakeCatalogue(), threading.Event(), threading.Event()

    def slow(version: Version) -> int:
        begun.set()
        may_end.wait(10)
        assert version.index_version_id not in catalogue.closed
        return version.index_version_id

    with closing(catalogue.model_switch()) as model_switch, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(model_switch.run, slow)
        begun.wait(10)
        catalogue.in_use = 2
        assert model_switch.run(Version.answer) == 2
        assert catalogue.closed == []
        may_end.set()
        assert answer.result() == 1
        assert catalogue.closed == [1]


def test_concurrent_requests_open_the_new_version_once() -> None:
    catalogue = FakeCatalogue()
    with closing(catalogue.model_switch()) as model_switch, ThreadPoolExecutor(16) as threads:
        for turn in range(2, 30):
            catalogue.in_use = turn
            assert set(threads.map(lambda _: model_switch.run(Version.answer), range(64))) == {turn}
        assert catalogue.opened == list(range(1, 30))
        assert catalogue.closed == list(range(1, 29))


def test_version_that_cannot_be_opened_raises_until_the_switch_is_reverted() -> None:
    catalogue = FakeCatalogue(missing={2})
    with closing(catalogue.model_switch()) as model_switch:
        catalogue.in_use = 2
        with pytest.raises(UnavailableError, match=r"cannot be opened here: There is no model of.*reindex"):
            model_switch.run(Version.answer)
        catalogue.in_use = 1
        assert model_switch.run(Version.answer) == 1


def test_requests_after_close_raise() -> None:
    model_switch = FakeCatalogue().model_switch()
    model_switch.close()
    with pytest.raises(UnavailableError, match="stopping"):
        model_switch.run(Version.answer)


def index_version(database: Database, network: CheckpointInfo) -> int:
    with database.transaction() as session:
        return index_versions.find_or_create(session, network, FAKE_CHECKPOINT).id


def eventually(database: Database, role: VersionUse, wanted: dict[int, int]) -> None:
    """Wait until each index version has the given number of holders of a role."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with database.read_session() as session:
            found = {index_version_id: len(who) for index_version_id, who in lock_holders(session, role).items()}
        if found == wanted:
            return
        time.sleep(0.05)
    raise AssertionError((found, wanted))


def test_watch_prepares_wanted_versions_and_switches(database: Database) -> None:
    catalogue = FakeCatalogue()
    with closing(catalogue.model_switch()) as model_switch, SwitchWatcher(database, model_switch):
        eventually(database, VersionUse.OPEN, {1: 1})
        with version_locks(database) as present:
            present.hold_only(VersionUse.WANTED, {7})
            eventually(database, VersionUse.OPEN, {1: 1, 7: 1})
            assert model_switch.active.index_version_id == 1
        eventually(database, VersionUse.OPEN, {1: 1})
        assert catalogue.closed == [7], "no longer wanted"
        used = index_version(database, FAKE_NETWORK)
        catalogue.opened.clear()
        with database.transaction() as session:
            index_versions.activate(session, used)
        eventually(database, VersionUse.OPEN, {used: 1})
    # PostgreSQL releases the locks shortly after the connection is closed.
    eventually(database, VersionUse.OPEN, {})


def test_watch_survives_a_lost_database_connection(database: Database, migrated_url: str) -> None:
    with closing(FakeCatalogue().model_switch()) as model_switch, SwitchWatcher(database, model_switch):
        eventually(database, VersionUse.OPEN, {1: 1})
        (watching,) = held(database)[1]
        with database.read_session() as session:
            session.execute(select(func.pg_terminate_backend(watching)))
        eventually(database, VersionUse.OPEN, {})
        eventually(database, VersionUse.OPEN, {1: 1})


def test_watch_survives_unexpected_exceptions(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.model_switch.switch._RETRY_S", 0.05)
    with closing(FakeCatalogue().model_switch()) as model_switch, SwitchWatcher(database, model_switch):
        eventually(database, VersionUse.OPEN, {1: 1})
        with monkeypatch.context() as patched:
            patched.delattr("app.model_switch.switch.lock_holders")
            eventually(database, VersionUse.OPEN, {})
        eventually(database, VersionUse.OPEN, {1: 1})
    assert "NameError" in caplog.text


def held(database: Database) -> dict[int, set[int]]:
    with database.read_session() as session:
        return lock_holders(session, VersionUse.OPEN)
