"""Full disk: searches continue, writes are rejected with a reason, no acknowledged data is lost.

As root, the data folder is a small tmpfs that the service fills. Otherwise LOOKALIKE_MIN_FREE_DISK_BYTES leaves a few
megabytes for the service, so that it rejects writes, but PostgreSQL does not run out of space. `TORTURE_FULL_SECONDS`
sets how long the disk stays full.
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

from tests.crash.ledger import numbered_image, serving
from tests.images import encoded

log = logging.getLogger("torture")

SECONDS = float(os.environ.get("TORTURE_FULL_SECONDS", "10"))
MEGABYTE = 1_000_000
SIZE, MORE, LEEWAY = 320, 200, 250
SEARCHED = 10


@dataclass(frozen=True)
class SmallDisk:
    """A data folder with little space; `grow` enlarges it if it is mounted."""

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
    """Writers and a searcher; counts response statuses, and records acknowledged images."""

    client: httpx2.Client
    ending: threading.Event = field(default_factory=threading.Event)
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)

    def record(self, what: str, answer: httpx2.Response) -> bool:
        self.answers[what, answer.status_code] += 1
        if answer.status_code == 503 and "disk" not in answer.json()["detail"]:
            self.wrong.append(answer.text)
        if answer.status_code == 503:
            time.sleep(0.05)
        return answer.is_success

    def add(self, number: int) -> None:
        answer = self.client.post("/index", files={"images": noise(number)})
        if self.record("add", answer):
            self.stored[number] = answer.json()["items"][0]["id"]

    def describe(self, number: int) -> None:
        text = "".join(chr(97 + at) for at in np.random.default_rng(number).integers(0, 26, 500_000))
        metadata = {f"field {at}": text[at : at + 1000] for at in range(0, len(text), 1000)}
        self.record("describe", self.client.patch(f"/images/{1 + number % SEARCHED}", json={"metadata": metadata}))

    def search(self, number: int) -> None:
        answer = self.client.post("/search", files={"image": numbered_image(number % SEARCHED)})
        if self.record("search", answer) and answer.json()["results"][0]["distance"] != 0:
            self.wrong.append(f"image {number % SEARCHED} is not its own best match")

    def repeat(self, step: Callable[[int], None], first: int) -> None:
        for number in range(first, first + 1_000_000):
            if self.ending.is_set():
                return
            step(number)


def noise(number: int) -> bytes:
    """An image of 1.5 MB."""
    pixels = np.random.default_rng(number).integers(0, 256, (700, 700, 3), np.uint8)
    return encoded(Image.fromarray(pixels), "PNG")


@pytest.mark.timeout(SECONDS + 600)
def test_full_disk_rejects_only_writes(disk: SmallDisk) -> None:
    with serving(disk.data) as (client, process, _):
        about = json.dumps([{"key": f"searched {number}"} for number in range(SEARCHED)])
        files = [("images", (f"{number}.png", numbered_image(number))) for number in range(SEARCHED)]
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
        assert client.delete(f"/images/{load.stored.popitem()[1]}").status_code == 204, (
            "deleting is possible on a full disk"
        )
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


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
