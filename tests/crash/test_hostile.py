"""Files made to do harm, sent to a real server: answered or refused, and nothing of a refused one stays.

`TORTURE_HOSTILE` names a folder with more of them; `TORTURE_CUT_STEPS` says at how many places each format is cut
off.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import running_server
from tests.crash.watch import resident
from tests.hostile import hostile_pictures
from tests.pictures import encoded, gradient

log = logging.getLogger("torture")

STEPS = int(os.environ.get("TORTURE_CUT_STEPS", "5"))
MORE = os.environ.get("TORTURE_HOSTILE")


def files() -> Iterator[tuple[str, bytes]]:
    yield from hostile_pictures(STEPS)
    if MORE:
        yield from ((path.name, path.read_bytes()) for path in sorted(Path(MORE).rglob("*")) if path.is_file())


def stored(data: Path) -> set[Path]:
    return {path for path in (data / "pictures").rglob("*") if path.is_file()}


def refused(client: httpx2.Client, name: str, file: bytes) -> bool:
    """Whether both ways in refuse a file; they agree, and each of them answers."""
    search = client.post("/search", files={"image": ("x", file)})
    index = client.post("/index", files={"images": ("x", file)})
    assert search.status_code in (200, 413, 422), (name, search.text)
    assert index.status_code == 201, (name, index.text)
    (item,) = index.json()["items"]
    assert (item["status"] == "rejected") == (search.status_code != 200), (name, search.text, item)
    return search.status_code != 200


@pytest.mark.timeout(4 * 3600)
def test_hostile_files_are_answered_or_refused_and_leave_nothing(tmp_path: Path) -> None:
    data, taken, turned_away = tmp_path / "data", 0, 0
    with (
        running_server(data, LOOKALIKE_DEMO="off") as (url, process),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        for number in range(50):
            assert not refused(client, "a good one", encoded(gradient(600 + number, 400)))
        before = resident(process.pid)
        for name, file in files():
            there = stored(data)
            if refused(client, name, file):
                assert stored(data) == there, name
                turned_away += 1
            else:
                taken += 1
        after = resident(process.pid)
        assert not refused(client, "a good one", encoded(gradient(599, 400)))
        assert client.get("/stats").json()["images"] <= taken + 51
    log.warning(
        "%d hostile files refused, %d taken, memory %.0f MB before and %.0f MB after",
        *(turned_away, taken, before / 1e6, after / 1e6),
    )
    assert after <= before * 1.1
    assert "Traceback" not in (tmp_path / "data.server.log").read_text()
