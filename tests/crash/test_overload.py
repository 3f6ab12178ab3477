"""Ten times as many searches as there is room for: who is refused knows at once, who is let in is answered."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.conftest import running_server
from tests.crash.watch import resident
from tests.pictures import encoded, gradient

log = logging.getLogger("torture")

ROOM, TIMES, SECONDS = 4, 10, 10.0
WARM_UP_S, PAUSE_S = 3.0, 0.1


def crowd(call: Callable[[], None]) -> None:
    threads = [threading.Thread(target=call) for _ in range(ROOM * TIMES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.timeout(600)
def test_a_crowd_at_the_door_is_turned_away_and_nobody_inside_suffers(tmp_path: Path) -> None:
    picture = encoded(gradient(640, 480))
    answers: list[tuple[int, float, str]] = []

    def insist(url: str, until: float) -> None:
        with httpx2.Client(base_url=url, timeout=60) as client:
            while (began := time.monotonic()) < until:
                answer = client.post("/search", files={"image": picture})
                answers.append((answer.status_code, time.monotonic() - began, answer.headers.get("retry-after", "")))
                if answer.status_code != 200:
                    time.sleep(PAUSE_S)

    with running_server(tmp_path / "data", LOOKALIKE_DEMO="off", LOOKALIKE_MAX_CONCURRENT_REQUESTS=str(ROOM)) as (
        url,
        process,
    ):
        insist(url, time.monotonic() + WARM_UP_S)
        calm = len(answers) / WARM_UP_S
        crowd(lambda: insist(url, time.monotonic() + WARM_UP_S))
        before = resident(process.pid)
        answers.clear()
        crowd(lambda: insist(url, time.monotonic() + SECONDS))
        after = resident(process.pid)
    served = [seconds for status, seconds, _ in answers if status == 200]
    refused = [(seconds, retry) for status, seconds, retry in answers if status == 503]
    assert len(served) + len(refused) == len(answers)
    assert served
    assert refused
    assert all(int(retry) >= 1 for _, retry in refused)
    assert after <= before * 1.1
    log.warning(
        "%d clients with room for %d: %.0f searches a second (one client: %.0f), 99 %% within %.0f ms; %d refused, "
        "half within %.0f ms, 99 %% within %.0f ms; memory %.0f MB before and %.0f MB after",
        *(ROOM * TIMES, ROOM, len(served) / SECONDS, calm, 1000 * np.percentile(served, 99), len(refused)),
        *(1000 * np.percentile([seconds for seconds, _ in refused], share) for share in (50, 99)),
        *(before / 1e6, after / 1e6),
    )
