"""More slow clients than slots, of every kind: searches with a key keep their speed.

`TORTURE_SLOW_CLIENT_SECONDS` sets how long they stay.
"""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import numpy as np
import pytest
from PIL import Image

from tests.conftest import running_server
from tests.crash.process_usage import descriptors, resident
from tests.crash.slow_clients import SlowClient, connected, slow_body, slow_image, slow_reader
from tests.images import encoded, gradient

log = logging.getLogger("torture")

SECONDS = float(os.environ.get("TORTURE_SLOW_CLIENT_SECONDS", "5"))
# Of each kind, more than the 64 slots of a process.
EACH = 70
GRACE_S = 3
# Maximum slowdown of a search: the slow clients use the same machine.
SLOWER, PAUSES_S = 8, 1.0


def make_key(data_dir: Path, name: str, scope: str) -> str:
    command = [sys.executable, "-m", "app.cli.main", "keys", "create", name, "--scope", scope]
    environment = os.environ | {"LOOKALIKE_DATA_DIR": str(data_dir)}
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    return next(word for word in output.split() if word.startswith("lk_"))


def large_picture() -> bytes:
    """An image larger than the socket buffers of a connection."""
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8)
    return encoded(Image.fromarray(noise), "PNG")


def searches(url: str, key: str) -> list[float]:
    """Search for a while; return the seconds of each search."""
    taken: list[float] = []
    picture = encoded(gradient(640, 480))
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        client.post("/search", files={"image": picture})
        until = time.monotonic() + SECONDS
        while (began := time.monotonic()) < until:
            answer = client.post("/search", files={"image": picture})
            assert answer.status_code == 200, answer.text
            taken.append(time.monotonic() - began)
    return taken


def kinds(original: str, key: str) -> dict[str, list[SlowClient]]:
    """Slow clients by kind, without a key and with another key."""
    header = f"Authorization: Bearer {key}\r\n"
    return {
        "bodies of /session": [slow_body("/session")] * EACH,
        "readers of /docs": [slow_reader("/static-offline-docs/swagger-ui-bundle.js")] * EACH,
        "readers of an original, with another key": [slow_reader(original, header)] * EACH,
        "bodies of /search and /index, with another key": [
            slow_image("/search", header),
            slow_image("/index", header, "images"),
        ]
        * (EACH // 2),
    }


def readiness_seconds(url: str) -> float:
    began = time.monotonic()
    assert httpx2.get(f"{url}/readyz", timeout=60).status_code == 200
    return time.monotonic() - began


@pytest.mark.timeout(900)
def test_searches_with_a_key_keep_their_speed_beside_slow_clients(tmp_path: Path) -> None:
    data_dir, settings = tmp_path / "data", {"LOOKALIKE_TRANSFER_GRACE_SECONDS": str(GRACE_S)}
    with running_server(data_dir, LOOKALIKE_DEMO="off", **settings) as (url, process):
        files = [("images", large_picture()), ("images", encoded(gradient(64, 48)))]
        first, _ = httpx2.post(f"{url}/index", files=files, timeout=60).json()["items"]
        key, other = make_key(data_dir, "one", "search"), make_key(data_dir, "two", "admin")
        port, of_kind = int(url.rsplit(":", 1)[1]), kinds(f"/images/{first['id']}/original", other)
        alone, before = searches(url, key), resident(process.pid)
        of_kind["all of them"] = [one for some in of_kind.values() for one in some]
        for kind, clients in of_kind.items():
            with connected(port, clients) as connections:
                taken = searches(url, key)
                # The quickest of a few: one alone may wait for something else on the machine.
                ready = min(readiness_seconds(url) for _ in range(5))
                memory, open_files = resident(process.pid), descriptors(process.pid)
                until = time.monotonic() + 10 * GRACE_S
                while connections.cut_off < len(clients):
                    assert time.monotonic() < until, f"{kind}: {connections.cut_off} were cut off"
                    time.sleep(0.1)
            log.warning(
                "%d slow %s: half of the searches within %.0f ms, 95 %% within %.0f ms (alone: %.0f and %.0f ms), "
                "/readyz in %.0f ms; %.0f MB of memory (alone: %.0f MB), %d descriptors",
                *(len(clients), kind),
                *(1000 * np.percentile(some, share) for some in (taken, alone) for share in (50, 95)),
                *(1000 * ready, memory / 1e6, before / 1e6, open_files),
            )
            assert np.median(taken) < SLOWER * np.median(alone) + PAUSES_S
            assert ready < SLOWER * np.median(alone) + PAUSES_S
