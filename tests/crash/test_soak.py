"""Soak test: a real server under mixed load, without errors and without growth.

`TORTURE_SOAK_SECONDS` sets the duration; the growth of memory is checked from ten minutes on, because shorter runs
predict nothing. `make torture` sets two hours.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.conftest import running_server
from tests.crash.ledger import Ledger
from tests.crash.process_usage import descriptors, on_disk, resident
from tests.images import encoded, gradient
from tests.malicious_images import wrong_sizes

log = logging.getLogger("torture")

SECONDS = float(os.environ.get("TORTURE_SOAK_SECONDS", "20"))
MIN_SLOPE_S = 600
PAUSE_S = 0.02
MAX_GROWTH_PER_HOUR = 0.01


def mixed_load(client: httpx2.Client, ledger: Ledger) -> list[Callable[[], None]]:
    """Operations to run in a thread each; as many images are deleted as added."""
    bad, large = [file for _, file in wrong_sizes()], encoded(gradient(1200, 900))

    def change() -> None:
        ledger.add(client, 2)
        ledger.delete(client)
        ledger.delete(client)

    def search_with_a_large_image() -> None:
        assert client.post("/search", files={"image": large}).status_code == 200

    def search_with_a_hostile_image() -> None:
        assert client.post("/search", files={"image": bad[int(time.monotonic()) % len(bad)]}).status_code < 500

    def browse() -> None:
        for item in client.get("/images", params={"limit": 3}).json()["items"]:
            # It may have been deleted meanwhile.
            assert client.get(item["thumbnail_url"]).status_code in (200, 404)
        assert client.get("/metrics").status_code == 200

    return [change, lambda: ledger.search(client), search_with_a_large_image, search_with_a_hostile_image, browse]


@pytest.mark.timeout(SECONDS + 600)
def test_resources_do_not_grow_under_load(tmp_path: Path) -> None:
    data, ledger, ending, errors = tmp_path / "data", Ledger(), threading.Event(), list[BaseException]()
    samples: list[tuple[float, int, int, int, int]] = []
    done, temporary = 0, tmp_path / "temporary"
    temporary.mkdir()

    def repeat(call: Callable[[], None]) -> None:
        nonlocal done
        try:
            while not ending.wait(PAUSE_S):
                call()
                done += 1
        except BaseException as error:
            errors.append(error)

    with (
        running_server(data, LOOKALIKE_DEMO="off", LOOKALIKE_TRASH_DAYS="0", TMPDIR=str(temporary)) as (url, process),
        httpx2.Client(base_url=url, timeout=30) as client,
    ):
        ledger.add(client, 20)
        threads = [threading.Thread(target=repeat, args=(call,)) for call in mixed_load(client, ledger)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        while not errors and time.monotonic() - began < SECONDS:
            time.sleep(SECONDS / 120)
            files = len(list(temporary.iterdir()))
            taken = resident(process.pid), descriptors(process.pid), files, on_disk(data / "vectors")
            samples.append((time.monotonic() - began, *taken))
        ending.set()
        for thread in threads:
            thread.join()
        assert errors == []
        ledger.check(client)
    assert "Traceback" not in (tmp_path / "data.server.log").read_text()
    seconds, memory, opened, left, vectors = (np.array(column) for column in zip(*samples, strict=True))
    settled, late = seconds > SECONDS / 4, seconds > SECONDS * 3 / 4
    # Medians, because a forked process briefly counts all of its parent's memory.
    early, hours = settled & (seconds <= SECONDS / 2), SECONDS / 2 / 3600
    slope = float(np.median(memory[late]) / np.median(memory[early]) - 1) / hours
    log.warning(
        "%.1f h, %d rounds, memory %.0f to %.0f MB, %+.2f %% an hour, at most %d descriptors, %d temporary files, "
        "%.0f MB of vectors",
        *(SECONDS / 3600, done, memory[settled].min() / 1e6, memory[settled].max() / 1e6, slope * 100),
        *(opened.max(), left.max(), vectors.max() / 1e6),
    )
    half = len(samples) // 2
    assert opened[half:].max() <= opened[:half].max() + 5
    assert left[half:].max() <= left[:half].max() + 5
    assert vectors[half:].max() <= 1.5 * vectors[:half].max()
    if SECONDS >= MIN_SLOPE_S:
        assert slope < MAX_GROWTH_PER_HOUR
