"""Database outages: 503 during the outage, no lost data, automatic recovery."""

import json
import logging
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import httpx2
import pytest
from sqlalchemy import make_url

from tests.crash.ledger import Ledger, numbered_image, serving
from tests.crash.proxy import Cut, Proxy, proxy

log = logging.getLogger("torture")

BACK_S = 5
OUTAGES = 12


@pytest.fixture
def wire(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy of an empty database, set as the service's database."""
    address = make_url(database_url)
    with proxy(f"{address.query['host']}/.s.PGSQL.{address.query.get('port', '5432')}") as opened:
        through = address.set(host="127.0.0.1", port=opened.port, query={})
        monkeypatch.setenv("LOOKALIKE_DATABASE_URL", through.render_as_string(hide_password=False))
        yield opened


def add(client: httpx2.Client, key: str) -> httpx2.Response:
    return client.post("/index", data={"metadata": json.dumps([{"key": key}])}, files={"images": numbered_image(7)})


@pytest.mark.parametrize("cut", get_args(Cut))
def test_retry_after_a_lost_commit_response_is_idempotent_by_key(wire: Proxy, tmp_path: Path, cut: Cut) -> None:
    with serving(tmp_path / "data") as (client, _, _):
        before = wire.commits
        assert add(client, "first").status_code == 201
        commits = wire.commits - before
        assert commits >= 1
        for commit in range(1, commits + 1):
            key = f"key {commit}"
            wire.cut(cut, commit)
            refused = add(client, key)
            assert refused.status_code == 503, (commit, refused.text)
            assert int(refused.headers["retry-after"]) >= 1
            (item,) = add(client, key).json()["items"]
            committed = cut == "after" and commit == commits
            assert item["status"] == ("unchanged" if committed else "created"), (commit, item)
        assert client.get("/stats").json()["images"] == commits + 1
        found = client.post("/search", files={"image": numbered_image(7)}).json()["results"]
        assert [match["distance"] for match in found] == [0] * (commits + 1)


@pytest.mark.timeout(300)
def test_outages_under_load_lose_nothing_and_recover(wire: Proxy, tmp_path: Path) -> None:
    ledger, chance, ending, errors, back = Ledger(), random.Random(5), threading.Event(), list[BaseException](), [0.0]

    def repeat(work: str) -> None:
        try:
            while not ending.wait(0.01):
                {"add": lambda: ledger.add(client, 2), "delete": lambda: ledger.delete(client)}.get(
                    work, lambda: ledger.search(client)
                )()
        except BaseException as error:
            errors.append(error)

    with serving(tmp_path / "data") as (client, _, _):
        ledger.add(client, 6)
        threads = [threading.Thread(target=repeat, args=(work,)) for work in ("add", "add", "delete", "search")]
        for thread in threads:
            thread.start()
        for outage in range(OUTAGES):
            time.sleep(chance.uniform(0.1, 0.5))
            if outage % 3 == 0:
                wire.stop()
                time.sleep(chance.uniform(0.2, 1))
                assert client.get("/readyz").status_code == 503
                assert client.get("/healthz").status_code == 200
                wire.resume()
            else:
                wire.cut(get_args(Cut)[outage % 3 - 1])
            back.append(recovery_seconds(client))
        ending.set()
        for thread in threads:
            thread.join()
        assert errors == []
        ledger.resolve_unknown(client)
        ledger.check(client)
        stored = len(ledger.stored)
    log.warning("%d outages, %d stored, works again within %.1f s", OUTAGES, stored, max(back))
    assert stored > OUTAGES
    assert max(back) < BACK_S


def recovery_seconds(client: httpx2.Client) -> float:
    """Wait until the service accepts images; earlier responses must be 503."""
    began = time.monotonic()
    while (answer := add(client, "probe")).status_code != 201:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() - began < 10 * BACK_S
        time.sleep(0.05)
    return time.monotonic() - began
