"""SIGKILL at random moments under mixed load: no acknowledged change is lost or undone, no files are orphaned.

`TORTURE_KILLS` sets the number of kills, `TORTURE_ROWS` that of other images; `make torture` sets more.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from tests.crash.adapting import adapting_all_the_time
from tests.crash.ledger import Ledger, serving
from tests.crash.orphans import orphans_after_a_stop
from tests.crash.server import EXIT
from tests.crash.synthetic_rows import add_synthetic_rows

log = logging.getLogger("torture")

KILLS = int(os.environ.get("TORTURE_KILLS", "6"))
# Another process fits codes meanwhile. It is killed after this number of kills of the service.
ADAPTING_KILLED_EVERY = 5
ROWS = int(os.environ.get("TORTURE_ROWS", "2000"))
POINTS = os.environ.get("TORTURE_POINTS", "some")


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder; its database is stopped at the end."""
    folder = tmp_path / "data"
    yield folder
    with serving(folder) as (_, process, _):
        process.terminate()
        process.wait(60)


@pytest.mark.timeout(KILLS * 60 + 600)
def test_kills_lose_nothing(data_dir: Path) -> None:
    ledger, chance, starts = Ledger(), random.Random(20), []
    add_synthetic_rows(data_dir, ROWS)
    with ExitStack() as adapting:
        for kill in range(KILLS):
            if kill % ADAPTING_KILLED_EVERY == 0:
                adapting.close()
                adapting.enter_context(adapting_all_the_time(data_dir))
            with serving(data_dir) as (client, process, seconds):
                starts.append(seconds)
                ledger.resolve_unknown(client)
                ledger.check(client, most=30)
                ledger.add(client, 3)
                work = [lambda: ledger.add(client, chance.randint(1, 4))] * 2
                work += [lambda: ledger.delete(client), lambda: ledger.search(client)]
                work += [lambda: ledger.delete_and_restore(client)]
                errors = under_load(work, chance.uniform(0.05, 1.5), process.kill)
                assert errors == [], f"kill {kill}"
    switches = data_dir.with_suffix(".adapting.log").read_text().count("The catalogue uses codes of")
    with serving(data_dir) as (client, _, _):
        ledger.resolve_unknown(client)
        ledger.check(client)
    assert orphans_after_a_stop(data_dir) == []
    log.warning(
        "%d kills among %d rows, %d stored, %d deleted, %d times adapted, slowest start %.1f s",
        *(KILLS, ROWS, len(ledger.stored), len(ledger.deleted), switches, max(starts)),
    )
    assert len(ledger.stored) > KILLS
    assert switches


def under_load(work: list[Callable[[], None]], seconds: float, kill: Callable[[], None]) -> list[BaseException]:
    """Repeat the work in threads and kill the service; return errors other than lost connections."""
    ending, errors = threading.Event(), list[BaseException]()

    def repeat(call: Callable[[], None]) -> None:
        try:
            while not ending.is_set():
                call()
        except httpx2.TransportError:
            pass
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(call,)) for call in work]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    kill()
    ending.set()
    for thread in threads:
        thread.join()
    return errors


def add_and_delete(ledger: Ledger, client: httpx2.Client) -> None:
    for _ in range(3):
        ledger.add(client, 2)
    ledger.delete(client)
    ledger.delete_and_restore(client)


@pytest.mark.timeout(4 * 3600)
def test_crash_at_any_point_of_a_change_loses_nothing(tmp_path: Path) -> None:
    data_dir, ledger = tmp_path / "data", Ledger()
    with serving(data_dir) as (client, _, _):
        add_and_delete(ledger, client)
    names = data_dir.with_suffix(".points").read_text().splitlines()
    kinds = {name.split(" ", 1)[1] for name in names}
    assert {"before commit", "after commit", "before fsync", "after pwrite", "before replace", "after unlink"} <= kinds
    points = range(1, len(names) + 1) if POINTS == "all" else range(1, len(names) + 1, max(len(names) // 8, 1))
    died = 0
    for point in points:
        with serving(data_dir, str(point)) as (client, process, _), suppress(httpx2.TransportError):
            ledger.resolve_unknown(client)
            add_and_delete(ledger, client)
        died += process.returncode == EXIT
        with serving(data_dir) as (client, process, _):
            ledger.resolve_unknown(client)
            ledger.check(client, most=12)
            process.terminate()
            process.wait(60)
    assert orphans_after_a_stop(data_dir) == []
    assert died >= len(points) * 0.8
