"""Two replicas that share PostgreSQL, Milvus and S3 and nothing else; one is killed, and nothing is lost or wrong.

`TORTURE_REPLICA_KILLS` says how often; `make torture` asks for more.
"""

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import running_server
from tests.crash.ledger import PATIENCE_S, Ledger, drawing
from tests.crash.test_workers import AnyOf
from tests.milvus import running_milvus
from tests.s3 import BUCKET, S3Server, s3

__all__ = ["s3"]

log = logging.getLogger("torture")

KILLS = int(os.environ.get("TORTURE_REPLICA_KILLS", "2"))
BEFORE_S, AFTER_S = 3.0, 2.0


class KilledError(Exception):
    """The one that was killed did not answer, as was to be expected."""


class Replicas(AnyOf):
    """Sends each request to one of them, whichever chance picks; only the one that is killed may break off."""

    def __init__(self, clients: list[httpx2.Client]) -> None:
        super().__init__(clients)
        self.dying: httpx2.Client | None = None

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        client = self._chance.choice(self.clients)
        try:
            return client.request(method, path, **options)
        except httpx2.TransportError as error:
            if client is self.dying:
                raise KilledError from error
            raise

    def kill(self, client: httpx2.Client, process: subprocess.Popen[bytes]) -> None:
        """Kills one while requests to it are under way, and sends it no more."""
        self.dying = client
        process.kill()
        self.clients = [other for other in self.clients if other is not client]


@pytest.fixture
def shared(database_url: str, s3: S3Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What all replicas are told: one of each, started here, with this version's tables in the database."""
    with running_milvus(tmp_path) as milvus:
        told = {
            "LOOKALIKE_DATABASE_URL": database_url,
            "LOOKALIKE_INDEX_BACKEND": "milvus",
            "LOOKALIKE_MILVUS_URI": milvus.uri,
            "LOOKALIKE_STORAGE_URL": f"s3://{BUCKET}",
            "LOOKALIKE_DEMO": "off",
            **s3.environment,
        }
        lookalike(told, "migrate")
        yield told


@pytest.mark.timeout(KILLS * 60 + 300)
def test_killing_a_replica_loses_nothing(shared: dict[str, str], tmp_path: Path) -> None:
    ledger = Ledger()
    with running_server(tmp_path / "first", **shared) as (first_url, _), client_of(first_url) as first:
        for _ in range(KILLS):
            with running_server(tmp_path / "second", **shared) as (url, process), client_of(url) as second:
                replicas: Any = Replicas([first, second])
                ledger.settle(replicas)
                errors = under_load(replicas, ledger, partial(replicas.kill, second, process))
                assert errors == []
            ledger.settle(first)
            ledger.check(first, most=20)
        with running_server(tmp_path / "second", **shared) as (url, _), client_of(url) as third:
            ledger.check(third)
            assert third.get("/stats").json()["images"] == len(ledger.stored)
            for picture_id, number in ledger.stored.values():
                assert third.get(f"/images/{picture_id}/original").content == drawing(number)
    assert "No problems found." in lookalike(shared | {"LOOKALIKE_DATA_DIR": str(tmp_path / "first")}, "check")
    log.warning("%d replicas killed, %d stored, %d deleted", KILLS, len(ledger.stored), len(ledger.deleted))
    assert len(ledger.stored) > KILLS


def under_load(replicas: Any, ledger: Ledger, kill: Callable[[], None]) -> list[BaseException]:
    """Adds, deletes and looks through any of them, kills one, goes on for a while; returns what went wrong."""
    ending, errors = threading.Event(), list[BaseException]()

    def add_and_look() -> None:
        ledger.add(replicas, 2)
        ledger.search(replicas)

    def repeat(call: Callable[[], None]) -> None:
        try:
            while not ending.is_set():
                with suppress(KilledError):
                    call()
        except BaseException as error:
            errors.append(error)

    def add_and_delete() -> None:
        ledger.add(replicas, 2)
        ledger.delete(replicas)

    work = [add_and_look, add_and_look, add_and_delete, lambda: ledger.search(replicas)]
    threads = [threading.Thread(target=repeat, args=(call,)) for call in work]
    for thread in threads:
        thread.start()
    time.sleep(BEFORE_S)
    kill()
    time.sleep(AFTER_S)
    ending.set()
    for thread in threads:
        thread.join()
    return errors


def client_of(url: str) -> httpx2.Client:
    return httpx2.Client(base_url=url, timeout=PATIENCE_S)


def lookalike(told: Mapping[str, str], *arguments: str) -> str:
    """Runs a command, and returns what it says."""
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    done = subprocess.run(command, env=os.environ | told, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
