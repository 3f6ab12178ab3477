"""What was acknowledged, by whom it will be checked: the outside view of a service that dies now and then."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image

from tests.conftest import free_port, wait_until_ready
from tests.pictures import encoded

PATIENCE_S = 20


@dataclass
class Ledger:
    """Keys that must be there with their picture's number, keys that must not, and keys of which nobody knows."""

    stored: dict[str, tuple[int, int]] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    numbers: "count[int]" = field(default_factory=count)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, client: httpx2.Client, pictures: int) -> None:
        """Adds new pictures; while nobody has answered, nobody knows."""
        with self.lock:
            new = {f"key-{number}": number for number in (next(self.numbers) for _ in range(pictures))}
            self.unknown |= new.keys()
        about = ", ".join(f'{{"key": "{key}"}}' for key in new)
        files = [("images", (key, drawing(number))) for key, number in new.items()]
        answer = client.post("/index", data={"metadata": f"[{about}]"}, files=files)
        if answer.status_code != 201:
            raise_unless_busy(answer)
            return
        with self.lock:
            for item in answer.json()["items"]:
                self.stored[item["key"]] = (item["id"], new[item["key"]])
                self.unknown.discard(item["key"])

    def delete(self, client: httpx2.Client) -> None:
        """Deletes the picture that has been there longest."""
        with self.lock:
            if len(self.stored) < 5:
                return
            key = next(iter(self.stored))
            picture_id, _ = self.stored.pop(key)
            self.unknown.add(key)
        answer = client.delete(f"/images/{picture_id}")
        if answer.status_code not in (204, 404):
            raise_unless_busy(answer)
            return
        with self.lock:
            self.deleted[key] = picture_id
            self.unknown.discard(key)

    def search(self, client: httpx2.Client) -> None:
        """Finds a picture that is there."""
        with self.lock:
            if not self.stored:
                return
            key = next(reversed(self.stored))
            picture_id, number = self.stored[key]
        answer = client.post("/search", params={"k": 3}, files={"image": drawing(number)})
        if answer.status_code != 200:
            raise_unless_busy(answer)
            return
        found = [(match["id"], match["distance"]) for match in answer.json()["results"]]
        with self.lock:
            still = self.stored.get(key)
        assert still is None or (picture_id, 0.0) in found, (key, found)

    def check(self, client: httpx2.Client, most: int | None = None) -> None:
        """Asks for everything that was acknowledged, the last `most` of each kind or all."""
        for key, (picture_id, number) in list(self.stored.items())[-(most or 0) :]:
            assert client.get(f"/images/{picture_id}").json()["key"] == key
            found = client.post("/search", params={"k": 5}, files={"image": drawing(number)}).json()["results"]
            assert (picture_id, 0.0) in [(match["id"], match["distance"]) for match in found], key
            for match in found:
                if match["key"] in self.stored:
                    answer = client.get(match["image_url"])
                    assert answer.status_code == 200, answer.text
        for key, picture_id in list(self.deleted.items())[-(most or 0) :]:
            assert client.get(f"/images/{picture_id}").status_code == 404, key
            assert client.get(f"/images/{picture_id}/similar").status_code == 404, key

    def settle(self, client: httpx2.Client) -> None:
        """Finds out what became of the unknown: there whole, or not at all."""
        listed: dict[str, int] = {}
        cursor: str | None = ""
        while cursor is not None:
            page = client.get("/images", params={"limit": 1000} | ({"cursor": cursor} if cursor else {})).json()
            listed |= {item["key"]: item["id"] for item in page["items"] if item["key"].startswith("key-")}
            cursor = page["next_cursor"]
        assert listed.keys() - self.unknown == self.stored.keys()
        for key in self.unknown & listed.keys():
            self.stored[key] = (listed[key], int(key.removeprefix("key-")))
        self.unknown.clear()


def drawing(number: int) -> bytes:
    """Sixteen patches of colour that no other number has."""
    patches = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return encoded(Image.fromarray(patches).resize((32, 32), Image.Resampling.NEAREST), "PNG")


def raise_unless_busy(answer: httpx2.Response) -> None:
    """Only a service that says it cannot may refuse."""
    assert answer.status_code == 503, (answer.status_code, answer.text)


@contextmanager
def serving(data_dir: Path, *arguments: str) -> Iterator[tuple[httpx2.Client, subprocess.Popen[bytes], float]]:
    """Runs the service; yields a client, the process and the seconds until it was ready. Does not end it gently."""
    port = free_port()
    command = [sys.executable, "-m", "tests.crash.server", str(data_dir), str(port), *arguments]
    began = time.monotonic()
    with data_dir.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, 60)
        seconds = time.monotonic() - began
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as client:
            yield client, process, seconds
    finally:
        process.kill()
        process.wait(PATIENCE_S)
