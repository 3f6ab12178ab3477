"""Four processes on one catalogue: each finds what any other has acknowledged, also after one is killed."""

import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.crash.ledger import Ledger, numbered_image, serving

PROCESSES, SECONDS, ENOUGH = 4, 6.0, 10


class AnyOf:
    """Sends each request to a random one of several services."""

    def __init__(self, clients: list[httpx2.Client]) -> None:
        self.clients, self._chance = clients, random.Random(3)

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        return self._chance.choice(self.clients).request(method, path, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx2.Response:
        return self.request("POST", path, **options)

    def delete(self, path: str, **options: Any) -> httpx2.Response:
        return self.request("DELETE", path, **options)


@pytest.mark.timeout(600)
def test_processes_agree_after_every_response(tmp_path: Path) -> None:
    data_dir, ledger, errors = tmp_path / "data", Ledger(), list[BaseException]()
    with ExitStack() as stack:
        opened = [stack.enter_context(serving(data_dir)) for _ in range(PROCESSES)]
        everyone: Any = AnyOf([client for client, _, _ in opened])
        ending = threading.Event()

        def add_and_search() -> None:
            ledger.add(everyone, 2)
            ledger.search(everyone)

        def delete_and_search() -> None:
            before = set(ledger.deleted)
            ledger.delete(everyone)
            for key in set(ledger.deleted) - before:
                image_id, number = ledger.deleted[key], int(key.removeprefix("key-"))
                assert everyone.get(f"/images/{image_id}/similar").status_code == 404
                found = everyone.post("/search", files={"image": numbered_image(number)}).json()["results"]
                assert image_id not in [match["id"] for match in found]

        def repeat(call: Any) -> None:
            try:
                while not ending.is_set():
                    call()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=repeat, args=(call,)) for call in [add_and_search] * 3 + [delete_and_search]]
        for thread in threads:
            thread.start()
        time.sleep(SECONDS)
        # Send one process no more requests, then kill it.
        _, dying, _ = opened[0]
        everyone.clients = everyone.clients[1:]
        time.sleep(SECONDS / 6)
        dying.kill()
        time.sleep(SECONDS / 3)
        # On a busy machine this takes longer.
        while not errors and (len(ledger.stored) <= ENOUGH or len(ledger.deleted) <= ENOUGH):
            time.sleep(0.1)
        ending.set()
        for thread in threads:
            thread.join()
        assert errors == []
        ledger.resolve_unknown(everyone)
        ledger.check(everyone, most=60)
        for _, process, _ in opened[1:]:
            process.terminate()
            process.wait(60)
