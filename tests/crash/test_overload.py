"""Ten times as many searches as slots: excess requests get 503 at once, the others are answered."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.conftest import running_server
from tests.crash.process_usage import resident
from tests.images import encoded, gradient

log = logging.getLogger("torture")

SLOTS, TIMES, SECONDS = 4, 10, 10.0
WARM_UP_S, PAUSE_S = 3.0, 0.1


def in_parallel(call: Callable[[], None]) -> None:
    threads = [threading.Thread(target=call) for _ in range(SLOTS * TIMES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.timeout(600)
def test_search_with_more_clients_than_slots_returns_503(tmp_path: Path) -> None:
    picture = encoded(gradient(640, 480))
    answers: list[tuple[int, float, str]] = []

    def search(url: str, until: float) -> None:
        with httpx2.Client(base_url=url, timeout=60) as client:
            while (began := time.monotonic()) < until:
                answer = client.post("/search", files={"image": picture})
                answers.append((answer.status_code, time.monotonic() - began, answer.headers.get("retry-after", "")))
                if answer.status_code != 200:
                    time.sleep(PAUSE_S)

    with running_server(tmp_path / "data", LOOKALIKE_DEMO="off", LOOKALIKE_MAX_CONCURRENT_REQUESTS=str(SLOTS)) as (
        url,
        process,
    ):
        search(url, time.monotonic() + WARM_UP_S)
        calm = len(answers) / WARM_UP_S
        in_parallel(lambda: search(url, time.monotonic() + WARM_UP_S))
        before = resident(process.pid)
        answers.clear()
        in_parallel(lambda: search(url, time.monotonic() + SECONDS))
        after = resident(process.pid)
    served = [seconds for status, seconds, _ in answers if status == 200]
    refused = [(seconds, retry) for status, seconds, retry in answers if status == 503]
    assert len(served) + len(refused) == len(answers)
    assert served
    assert refused
    assert all(int(retry) >= 1 for _, retry in refused)
    assert after <= before * 1.1
    log.warning(
        "%d clients, %d slots: %.0f searches a second (one client: %.0f), 99 %% within %.0f ms; %d refused, "
        "half within %.0f ms, 99 %% within %.0f ms; memory %.0f MB before and %.0f MB after",
        *(SLOTS * TIMES, SLOTS, len(served) / SECONDS, calm, 1000 * np.percentile(served, 99), len(refused)),
        *(1000 * np.percentile([seconds for seconds, _ in refused], share) for share in (50, 99)),
        *(before / 1e6, after / 1e6),
    )
