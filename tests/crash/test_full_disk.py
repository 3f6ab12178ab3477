"""A disk that the service itself fills: searches go on, writes are refused with a reason, nothing acknowledged is lost.

Where the user may mount a file system, the data folder is a small one of its own (tmpfs) that is really full. Elsewhere
the service is told to leave free all but a few megabytes of the disk that there is, so that it refuses writes, but
PostgreSQL does not run out of space. `TORTURE_FULL_SECONDS` says for how long it stays full.
"""

import json
import logging
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from tests.crash.ledger import drawing, serving
from tests.pictures import encoded

log = logging.getLogger("torture")

SECONDS = float(os.environ.get("TORTURE_FULL_SECONDS", "10"))
MEGABYTE = 1_000_000
SIZE, MORE, LEEWAY = 320, 200, 250
SEARCHED = 10


@dataclass(frozen=True)
class SmallDisk:
    """A data folder with little space; `grow` makes room in it where it is a file system of its own."""

    data: Path
    mounted: bool

    def grow(self) -> None:
        subprocess.run(["mount", "-o", f"remount,size={SIZE + MORE}m", self.data], check=True)


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallDisk]:
    data = tmp_path / "data"
    data.mkdir()
    if os.geteuid() == 0:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m,mode=755", "tmpfs", str(data)]
        mounted = subprocess.run(mount, check=False).returncode == 0
    else:
        mounted = False
    if not mounted:
        least = shutil.disk_usage(data).free - LEEWAY * MEGABYTE
        monkeypatch.setenv("LOOKALIKE_MIN_FREE_DISK_BYTES", str(least))
    log.warning("%s", f"a tmpfs of {SIZE} MB" if mounted else f"all but {LEEWAY} MB of the disk stay free")
    yield SmallDisk(data, mounted)
    if mounted:
        subprocess.run(["umount", "--lazy", data], check=True)


@dataclass
class Load:
    """Writers and a searcher, what they were answered, and which pictures were acknowledged."""

    client: httpx2.Client
    ending: threading.Event = field(default_factory=threading.Event)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)

    def note(self, what: str, answer: httpx2.Response) -> bool:
        self.answers[what, answer.status_code] += 1
        if answer.status_code == 503 and "disk" not in answer.json()["detail"]:
            self.wrong.append(answer.text)
        if answer.status_code == 503:
            time.sleep(0.05)
        return answer.is_success

    def add(self, number: int) -> None:
        answer = self.client.post("/index", files={"images": noise(number)})
        if self.note("add", answer):
            self.stored[number] = answer.json()["items"][0]["id"]

    def describe(self, number: int) -> None:
        text = "".join(chr(97 + at) for at in np.random.default_rng(number).integers(0, 26, 500_000))
        metadata = {f"field {at}": text[at : at + 1000] for at in range(0, len(text), 1000)}
        self.note("describe", self.client.patch(f"/images/{1 + number % SEARCHED}", json={"metadata": metadata}))

    def search(self, number: int) -> None:
        answer = self.client.post("/search", files={"image": drawing(number % SEARCHED)})
        if self.note("search", answer) and answer.json()["results"][0]["distance"] != 0:
            self.wrong.append(f"the best match of {number % SEARCHED} is not itself")

    def repeat(self, step: Callable[[int], None], first: int) -> None:
        for number in range(first, first + 1_000_000):
            if self.ending.is_set():
                return
            step(number)


def noise(number: int) -> bytes:
    """A picture that takes 1.5 MB."""
    pixels = np.random.default_rng(number).integers(0, 256, (700, 700, 3), np.uint8)
    return encoded(Image.fromarray(pixels), "PNG")


@pytest.mark.timeout(SECONDS + 600)
def test_a_full_disk_refuses_writes_and_nothing_else(disk: SmallDisk) -> None:
    with serving(disk.data) as (client, process, _):
        about = json.dumps([{"key": f"searched {number}"} for number in range(SEARCHED)])
        files = [("images", (f"{number}.png", drawing(number))) for number in range(SEARCHED)]
        client.post("/index", files=files, data={"metadata": about}).raise_for_status()
        load = Load(client)
        steps = [(load.add, 1000), (load.add, 100_000), (load.describe, 0), (load.search, 0)]
        threads = [threading.Thread(target=load.repeat, args=step) for step in steps]
        for thread in threads:
            thread.start()
        wait_until(lambda: load.answers["add", 503] > 0)
        time.sleep(SECONDS)
        load.ending.set()
        for thread in threads:
            thread.join()
        log.warning("answers: %s", dict(load.answers))
        assert load.wrong == []
        assert {status for what, status in load.answers if what == "search"} == {200}
        assert {status for what, status in load.answers if what == "add"} == {201, 503}
        assert client.delete(f"/images/{load.stored.popitem()[1]}").status_code == 204, "it makes room"
        if disk.mounted:
            disk.grow()
            began = time.monotonic()
            wait_until(lambda: client.post("/index", files={"images": noise(1)}).status_code == 201)
            log.warning("writes again after %.1f s of room", time.monotonic() - began)
        for number, image_id in load.stored.items():
            assert client.get(f"/images/{image_id}/original").content == noise(number)
        process.terminate()
        process.wait(60)
    assert all("PANIC" not in path.read_text() for path in disk.data.glob("postgres.log*"))


def wait_until(met: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)
