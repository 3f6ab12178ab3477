"""Going over from one generation to the next: nobody fails, nobody is cut off, nothing stays open."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import func, select

from app.catalogue import generations
from app.catalogue.advisory_registry import Role, held_by, presence
from app.catalogue.database.sessions import Database
from app.errors import CatalogueMovedError, UnavailableError
from app.model_switch.switch import Handover, Watch
from models.checkpoint.info import CheckpointInfo
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK


@dataclass
class Truth:
    """What the catalogue uses, and what was opened and closed."""

    in_use: int = 1
    opened: list[int] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)
    missing: set[int] = field(default_factory=set)

    def handover(self) -> Handover["Answering"]:
        return Handover(self.open(1), self.open)

    @contextmanager
    def open(self, generation_id: int) -> Iterator["Answering"]:
        if generation_id in self.missing:
            raise UnavailableError(f"There is no network of generation {generation_id}.")
        self.opened.append(generation_id)
        yield Answering(generation_id, self)
        self.closed.append(generation_id)


@dataclass
class Answering:
    generation_id: int
    truth: Truth
    taken_over: bool = False

    def take_over(self) -> None:
        self.taken_over = True

    def answer(self) -> int:
        assert self.generation_id not in self.truth.closed
        if self.truth.in_use != self.generation_id:
            raise CatalogueMovedError(self.truth.in_use)
        return self.generation_id


def test_a_request_that_finds_the_catalogue_moved_is_done_again_with_the_next() -> None:
    truth = Truth()
    with closing(truth.handover()) as handover:
        assert handover.do(Answering.answer) == 1
        truth.in_use = 2
        assert handover.do(Answering.answer) == 2
        assert handover.current.taken_over
        assert (truth.opened, truth.closed) == ([1, 2], [1])
    assert truth.closed == [1, 2]


def test_what_was_prepared_is_not_opened_again() -> None:
    truth = Truth()
    with closing(truth.handover()) as handover:
        handover.prepare(2)
        handover.prepare(2)
        assert handover.open_ids == {1, 2}
        assert handover.do(Answering.answer) == 1
        truth.in_use = 2
        assert handover.do(Answering.answer) == 2
        assert truth.opened == [1, 2]


def test_what_was_prepared_in_vain_is_closed() -> None:
    truth = Truth()
    with closing(truth.handover()) as handover:
        handover.prepare(2)
        handover.keep_only({2})
        assert truth.closed == []
        handover.keep_only(set())
        assert truth.closed == [2]
        assert handover.do(Answering.answer) == 1


def test_requests_under_way_end_with_the_old_one_before_it_is_closed() -> None:
    truth, begun, may_end = Truth(), threading.Event(), threading.Event()

    def slow(answering: Answering) -> int:
        begun.set()
        may_end.wait(10)
        assert answering.generation_id not in truth.closed
        return answering.generation_id

    with closing(truth.handover()) as handover, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(handover.do, slow)
        begun.wait(10)
        truth.in_use = 2
        assert handover.do(Answering.answer) == 2
        assert truth.closed == []
        may_end.set()
        assert answer.result() == 1
        assert truth.closed == [1]


def test_many_requests_at_once_open_the_next_one_once() -> None:
    truth = Truth()
    with closing(truth.handover()) as handover, ThreadPoolExecutor(16) as threads:
        for turn in range(2, 30):
            truth.in_use = turn
            assert set(threads.map(lambda _: handover.do(Answering.answer), range(64))) == {turn}
        assert truth.opened == list(range(1, 30))
        assert truth.closed == list(range(1, 29))


def test_a_network_that_cannot_be_opened_is_a_sentence_and_the_way_back_is_open() -> None:
    truth = Truth(missing={2})
    with closing(truth.handover()) as handover:
        truth.in_use = 2
        with pytest.raises(UnavailableError, match=r"cannot be opened here: There is no network.*reindex"):
            handover.do(Answering.answer)
        truth.in_use = 1
        assert handover.do(Answering.answer) == 1


def test_nothing_is_answered_after_the_end() -> None:
    handover = Truth().handover()
    handover.close()
    with pytest.raises(UnavailableError, match="stopping"):
        handover.do(Answering.answer)


def generation(database: Database, network: CheckpointInfo) -> int:
    with database.begin() as session:
        return generations.find_or_create(session, network, FAKE_CHECKPOINT).id


def eventually(database: Database, role: Role, wanted: dict[int, int]) -> None:
    """Waits until so many hold a role for each generation."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with database.asking() as session:
            found = {generation_id: len(who) for generation_id, who in held_by(session, role).items()}
        if found == wanted:
            return
        time.sleep(0.05)
    raise AssertionError((found, wanted))


def test_watching_prepares_what_is_wanted_and_goes_over_when_it_is_in_use(database: Database) -> None:
    truth = Truth()
    with closing(truth.handover()) as handover, Watch(database, handover):
        eventually(database, Role.OPEN, {1: 1})
        with presence(database) as present:
            present.hold_only(Role.WANTED, {7})
            eventually(database, Role.OPEN, {1: 1, 7: 1})
            assert handover.current.generation_id == 1
        eventually(database, Role.OPEN, {1: 1})
        assert truth.closed == [7], "whoever wanted it gave up"
        used = generation(database, FAKE_NETWORK)
        truth.opened.clear()
        with database.begin() as session:
            generations.switch(session, used)
        eventually(database, Role.OPEN, {used: 1})
    # A connection that is closed here gives its locks back a moment later.
    eventually(database, Role.OPEN, {})


def test_watching_outlives_a_database_that_goes_away(database: Database, migrated_url: str) -> None:
    with closing(Truth().handover()) as handover, Watch(database, handover):
        eventually(database, Role.OPEN, {1: 1})
        (watching,) = held(database)[1]
        with database.asking() as session:
            session.execute(select(func.pg_terminate_backend(watching)))
        eventually(database, Role.OPEN, {})
        eventually(database, Role.OPEN, {1: 1})


def test_watching_outlives_what_nobody_foresaw(
    database: Database, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.model_switch.switch._RETRY_S", 0.05)
    with closing(Truth().handover()) as handover, Watch(database, handover):
        eventually(database, Role.OPEN, {1: 1})
        with monkeypatch.context() as patched:
            patched.delattr("app.model_switch.switch.held_by")
            eventually(database, Role.OPEN, {})
        eventually(database, Role.OPEN, {1: 1})
    assert "NameError" in caplog.text


def held(database: Database) -> dict[int, set[int]]:
    with database.asking() as session:
        return held_by(session, Role.OPEN)
