"""Two replicas that share PostgreSQL, Milvus and S3; one is killed, and nothing is lost.

`TORTURE_REPLICA_KILLS` sets the number of kills; `make torture` sets more.
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
from tests.crash.ledger import TIMEOUT_S, Ledger, numbered_image
from tests.crash.test_workers import AnyOf
from tests.milvus import running_milvus
from tests.s3 import BUCKET, S3Server, s3

__all__ = ["s3"]

log = logging.getLogger("torture")

KILLS = int(os.environ.get("TORTURE_REPLICA_KILLS", "2"))
BEFORE_S, AFTER_S = 3.0, 2.0


class KilledError(Exception):
    """The killed replica did not respond, as expected."""


class Replicas(AnyOf):
    """Sends each request to a random replica; only the killed one may drop connections."""

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
        """Kill a replica during requests, and send it no more."""
        self.dying = client
        process.kill()
        self.clients = [other for other in self.clients if other is not client]


@pytest.fixture
def shared(database_url: str, s3: S3Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Settings of all replicas: PostgreSQL, Milvus and S3, with a migrated database."""
    with running_milvus(tmp_path) as milvus:
        variables = {
            "LOOKALIKE_DATABASE_URL": database_url,
            "LOOKALIKE_INDEX_BACKEND": "milvus",
            "LOOKALIKE_MILVUS_URI": milvus.uri,
            "LOOKALIKE_STORAGE_URL": f"s3://{BUCKET}",
            "LOOKALIKE_DEMO": "off",
            **s3.environment,
        }
        lookalike(variables, "migrate")
        yield variables


@pytest.mark.timeout(KILLS * 60 + 300)
def test_killing_a_replica_loses_nothing(shared: dict[str, str], tmp_path: Path) -> None:
    ledger = Ledger()
    with running_server(tmp_path / "first", **shared) as (first_url, _), client_of(first_url) as first:
        for _ in range(KILLS):
            with running_server(tmp_path / "second", **shared) as (url, process), client_of(url) as second:
                replicas: Any = Replicas([first, second])
                ledger.resolve_unknown(replicas)
                errors = under_load(replicas, ledger, partial(replicas.kill, second, process))
                assert errors == []
            ledger.resolve_unknown(first)
            ledger.check(first, most=20)
        with running_server(tmp_path / "second", **shared) as (url, _), client_of(url) as third:
            ledger.check(third)
            assert third.get("/stats").json()["images"] == len(ledger.stored)
            for image_id, number in ledger.stored.values():
                assert third.get(f"/images/{image_id}/original").content == numbered_image(number)
    assert "No problems found." in lookalike(shared | {"LOOKALIKE_DATA_DIR": str(tmp_path / "first")}, "check")
    log.warning("%d replicas killed, %d stored, %d deleted", KILLS, len(ledger.stored), len(ledger.deleted))
    assert len(ledger.stored) > KILLS


def under_load(replicas: Any, ledger: Ledger, kill: Callable[[], None]) -> list[BaseException]:
    """Add, delete and search on all replicas, kill one and continue for a while; return errors."""
    ending, errors = threading.Event(), list[BaseException]()

    def add_and_search() -> None:
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

    work = [add_and_search, add_and_search, add_and_delete, lambda: ledger.search(replicas)]
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
    return httpx2.Client(base_url=url, timeout=TIMEOUT_S)


def lookalike(variables: Mapping[str, str], *arguments: str) -> str:
    """Run a command; return its output."""
    command = [sys.executable, "-m", "app.cli.main", *arguments]
    done = subprocess.run(command, env=os.environ | variables, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
