"""Ledger of acknowledged changes, to check a service that is killed against."""

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
from tests.images import encoded

TIMEOUT_S = 20


@dataclass
class Ledger:
    """Keys that must exist, with id and drawing number; keys that must not; and keys in an unknown state."""

    stored: dict[str, tuple[int, int]] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    numbers: "count[int]" = field(default_factory=count)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, client: httpx2.Client, pictures: int) -> None:
        """Add new images; their state is unknown until the response."""
        with self.lock:
            new = {f"key-{number}": number for number in (next(self.numbers) for _ in range(pictures))}
            self.unknown |= new.keys()
        metadata = ", ".join(f'{{"key": "{key}"}}' for key in new)
        files = [("images", (key, numbered_image(number))) for key, number in new.items()]
        answer = client.post("/index", data={"metadata": f"[{metadata}]"}, files=files)
        if answer.status_code != 201:
            raise_unless_busy(answer)
            return
        with self.lock:
            for item in answer.json()["items"]:
                self.stored[item["key"]] = (item["id"], new[item["key"]])
                self.unknown.discard(item["key"])

    def delete(self, client: httpx2.Client) -> None:
        """Delete the oldest image."""
        with self.lock:
            if len(self.stored) < 5:
                return
            key = next(iter(self.stored))
            image_id, _ = self.stored.pop(key)
            self.unknown.add(key)
        answer = client.delete(f"/images/{image_id}")
        if answer.status_code not in (204, 404):
            raise_unless_busy(answer)
            return
        with self.lock:
            self.deleted[key] = image_id
            self.unknown.discard(key)

    def delete_and_restore(self, client: httpx2.Client) -> None:
        """Delete the three oldest images in one change, and restore them."""
        with self.lock:
            if len(self.stored) < 5:
                return
            chosen = {key: self.stored.pop(key) for key in list(self.stored)[:3]}
            self.unknown |= chosen.keys()
        ids = [image_id for image_id, _ in chosen.values()]
        answer = client.post("/images/delete", json={"ids": ids, "expected": len(ids)})
        if answer.status_code != 200:
            raise_unless_busy(answer)
            return
        answer = client.post("/trash/restore", json={"deletion_id": answer.json()["deletion_id"]})
        if answer.status_code != 200:
            raise_unless_busy(answer)
            return
        with self.lock:
            self.stored |= chosen
            self.unknown -= chosen.keys()

    def restore_unknown(self, client: httpx2.Client) -> None:
        """Restore images of which only the deletion, or neither change, was acknowledged; all or none are there."""
        items = client.get("/trash", params={"limit": 1000}).json()["items"]
        lost: dict[int, list[int]] = {}
        for item in items:
            if item["key"] in self.unknown:
                lost.setdefault(item["deletion_id"], []).append(item["id"])
        for deletion_id, ids in lost.items():
            # A single deletion stays: the kill may have come before its response, so its image may be there or not.
            if len(ids) > 1:
                assert len(ids) == 3, ids
                answer = client.post("/trash/restore", json={"deletion_id": deletion_id})
                assert answer.json() == {"restored": 3, "skipped": 0}, answer.text

    def search(self, client: httpx2.Client) -> None:
        """Search for an image that must be found."""
        with self.lock:
            if not self.stored:
                return
            key = next(reversed(self.stored))
            image_id, number = self.stored[key]
        answer = client.post("/search", params={"k": 3}, files={"image": numbered_image(number)})
        if answer.status_code != 200:
            raise_unless_busy(answer)
            return
        found = [(match["id"], match["distance"]) for match in answer.json()["results"]]
        with self.lock:
            current = self.stored.get(key)
        assert current is None or (image_id, 0.0) in found, (key, found)

    def check(self, client: httpx2.Client, most: int | None = None) -> None:
        """Check acknowledged images and deletions, the last `most` of each or all."""
        for key, (image_id, number) in list(self.stored.items())[-(most or 0) :]:
            assert client.get(f"/images/{image_id}").json()["key"] == key
            found = client.post("/search", params={"k": 5}, files={"image": numbered_image(number)}).json()["results"]
            assert (image_id, 0.0) in [(match["id"], match["distance"]) for match in found], key
            for match in found:
                if match["key"] in self.stored:
                    answer = client.get(match["image_url"])
                    assert answer.status_code == 200, answer.text
        for key, image_id in list(self.deleted.items())[-(most or 0) :]:
            assert client.get(f"/images/{image_id}").status_code == 404, key
            assert client.get(f"/images/{image_id}/similar").status_code == 404, key

    def resolve_unknown(self, client: httpx2.Client) -> None:
        """Resolve keys in an unknown state: undo interrupted deletions of many, then list the catalogue."""
        self.restore_unknown(client)
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


def numbered_image(number: int) -> bytes:
    """A PNG of sixteen patches of colour, unique to a number."""
    patches = np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8)
    return encoded(Image.fromarray(patches).resize((32, 32), Image.Resampling.NEAREST), "PNG")


def raise_unless_busy(answer: httpx2.Response) -> None:
    """Fail unless the response is a 503."""
    assert answer.status_code == 503, (answer.status_code, answer.text)


@contextmanager
def serving(data_dir: Path, *arguments: str) -> Iterator[tuple[httpx2.Client, subprocess.Popen[bytes], float]]:
    """Run the service, and kill it at the end; yield a client, the process and the seconds until it was ready."""
    port = free_port()
    command = [sys.executable, "-m", "tests.crash.server", str(data_dir), str(port), *arguments]
    began = time.monotonic()
    with data_dir.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process, 60)
        seconds = time.monotonic() - began
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=TIMEOUT_S) as client:
            yield client, process, seconds
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
