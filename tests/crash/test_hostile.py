"""Hostile image files, sent to a real server: accepted or rejected, without leaving files or leaking memory.

`TORTURE_HOSTILE` names a folder with more files; `TORTURE_CUT_STEPS` sets the number of truncations per format.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.conftest import running_server
from tests.crash.process_usage import resident
from tests.images import encoded, gradient
from tests.malicious_images import malicious_images

log = logging.getLogger("torture")

STEPS = int(os.environ.get("TORTURE_CUT_STEPS", "5"))
MORE = os.environ.get("TORTURE_HOSTILE")


def files() -> Iterator[tuple[str, bytes]]:
    yield from malicious_images(STEPS)
    if MORE:
        yield from ((path.name, path.read_bytes()) for path in sorted(Path(MORE).rglob("*")) if path.is_file())


def stored(data: Path) -> set[Path]:
    return {path for path in (data / "pictures").rglob("*") if path.is_file()}


def is_rejected(client: httpx2.Client, name: str, file: bytes) -> bool:
    """Whether a file is rejected; POST /search and POST /index must agree."""
    search = client.post("/search", files={"image": ("x", file)})
    index = client.post("/index", files={"images": ("x", file)})
    assert search.status_code in (200, 413, 422), (name, search.text)
    assert index.status_code == 201, (name, index.text)
    (item,) = index.json()["items"]
    assert (item["status"] == "rejected") == (search.status_code != 200), (name, search.text, item)
    return search.status_code != 200


@pytest.mark.timeout(4 * 3600)
def test_hostile_files_are_accepted_or_rejected_and_leave_nothing(tmp_path: Path) -> None:
    data, accepted, rejected = tmp_path / "data", 0, 0
    with (
        running_server(data, LOOKALIKE_DEMO="off") as (url, process),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        for number in range(50):
            assert not is_rejected(client, "a good one", encoded(gradient(600 + number, 400)))
        before = resident(process.pid)
        for name, file in files():
            before_files = stored(data)
            if is_rejected(client, name, file):
                assert stored(data) == before_files, name
                rejected += 1
            else:
                accepted += 1
        after = resident(process.pid)
        assert not is_rejected(client, "a good one", encoded(gradient(599, 400)))
        assert client.get("/stats").json()["images"] <= accepted + 51
    log.warning(
        "%d hostile files rejected, %d accepted, memory %.0f MB before and %.0f MB after",
        *(rejected, accepted, before / 1e6, after / 1e6),
    )
    assert after <= before * 1.1
    assert "Traceback" not in (tmp_path / "data.server.log").read_text()
