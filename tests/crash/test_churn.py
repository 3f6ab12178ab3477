"""Processes that add and delete images with the same bytes concurrently; some of them are killed.

`TORTURE_CHURN` sets the number of rounds of each; `make torture` sets more.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import closing

import pytest
from sqlalchemy import select

from app.bootstrap import build_service_with_encoder
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image, Removal
from app.catalogue.storage.local import LocalStorage
from app.ingest.uploads import Upload
from app.settings import Settings
from tests.crash.ledger import numbered_image
from tests.crash.orphans import orphans
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder

ROUNDS = int(os.environ.get("TORTURE_CHURN", "60"))
KILLS = max(ROUNDS // 40, 2)
NAMES = ("one", "two", "three")
Process = subprocess.Popen[str]


def start(name: str, settings: Settings) -> Process:
    command = [sys.executable, "-m", "tests.crash.churn", name, str(ROUNDS), str(settings.data_dir)]
    command.append(str(settings.database_url))
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n", process.communicate()
    return process


def begin(processes: Iterable[Process]) -> None:
    """Let started processes begin."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def require_consistent(settings: Settings, database: Database) -> None:
    """Check that every image has its original, and that no orphans and no pending deletions remain."""
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        with service.database.read_session() as session:
            known = list(session.scalars(select(Image.sha256)))
            assert list(session.scalars(select(Removal.sha256).where(~Removal.done))) == []
        assert service.storage.missing(known) == set()
    assert orphans(database, settings.data_dir) == []


@pytest.mark.timeout(ROUNDS * 5 + 240)
def test_concurrent_deletions_keep_shared_originals(settings: Settings, database: Database) -> None:
    processes = [start(name, settings) for name in NAMES]
    begin(processes)
    for process in processes:
        out, errors = process.communicate()
        assert process.returncode == 0, errors
        unavailable = int(out.split()[-1])
        assert unavailable < ROUNDS // 2, "most changes go through"
    require_consistent(settings, database)


@pytest.mark.timeout(ROUNDS * 5 + 240)
def test_killed_processes_keep_shared_originals(settings: Settings, database: Database) -> None:
    chance = random.Random(4)
    processes = {name: start(name, settings) for name in NAMES}
    begin(processes.values())
    for _ in range(KILLS):
        time.sleep(chance.random() * 2)
        name = chance.choice(NAMES)
        processes[name].kill()
        _, errors = processes[name].communicate()
        assert processes[name].returncode in (0, -signal.SIGKILL), errors
        processes[name] = start(name, settings)
        begin([processes[name]])
    for process in processes.values():
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    require_consistent(settings, database)


class KilledError(BaseException):
    """Simulates the end of the process."""


@pytest.mark.parametrize("deleted", [False, True], ids=["before the files are deleted", "after"])
def test_interrupted_deletion_is_completed_at_the_next_start(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, deleted: bool
) -> None:
    remove = LocalStorage.remove

    def cut_off(files: LocalStorage, sha256: str) -> None:
        if deleted:
            remove(files, sha256)
        raise KilledError

    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        added = service.ingest.add([Upload(numbered_image(one), f"key-{one}", {}) for one in range(3)])
        assert added[0].id is not None
        monkeypatch.setattr(LocalStorage, "remove", cut_off)
        with pytest.raises(KilledError):
            service.ingest.delete(added[0].id)
        monkeypatch.undo()
    require_consistent(settings, database)
    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        (again,) = service.ingest.add([Upload(numbered_image(0), "key-0", {})])
        assert again.status == "created"
    require_consistent(settings, database)


def test_deletions_of_a_lost_host_are_completed_by_others(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise KilledError

    with build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        (added,) = service.ingest.add([Upload(numbered_image(1), "key-1", {})])
        assert added.id is not None
        monkeypatch.setattr(LocalStorage, "remove", lost)
        with pytest.raises(KilledError):
            service.ingest.delete(added.id)
        monkeypatch.undo()
    for note in (settings.data_dir / "under-way").iterdir():
        note.unlink()
    with closing(Database(str(settings.database_url))) as other, other.transaction() as session:
        (claim,) = session.scalars(select(Removal))
        claim.safe_at = claim.claimed_at
    require_consistent(settings, database)
