"""Bulk loading over HTTP with small request limits or a slow uplink."""

import csv
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from lookalike_client import MAX_BATCH_BYTES, MAX_BATCH_IMAGES, Lookalike
from PIL import Image

from app.ingest.bulk import BatchConfig, Outcome, bulk_add
from app.ingest.remote import RemoteTarget
from app.ingest.sources.items import Entry
from app.settings import Settings
from tests.cli.output import output_of
from tests.cli.test_index import run
from tests.images import encoded
from tests.ingest.server import serving

PACE = BatchConfig(MAX_BATCH_IMAGES, MAX_BATCH_BYTES, 2)


def noise(seed: int, side: int) -> bytes:
    """An incompressible PNG, about three bytes a pixel."""
    return encoded(Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)), "PNG")


def entry(key: str, data: bytes) -> Entry:
    return Entry(key, key, {}, len(data), lambda: data)


def filled(entries: Iterable[Entry], client: Lookalike) -> list[Outcome]:
    return [outcome for some in bulk_add(entries, RemoteTarget(client), PACE) for outcome in some]


class Slow(httpx.SyncByteStream):
    """A request body sent at `rate` bytes per second."""

    def __init__(self, body: bytes, rate: int) -> None:
        self._body, self._piece = body, rate // 20

    def __iter__(self) -> Iterator[bytes]:
        for first in range(0, len(self._body), self._piece):
            time.sleep(0.05)
            yield self._body[first : first + self._piece]


class Uplink(httpx.BaseTransport):
    """A transport that sends `rate` bytes per second, and records response statuses."""

    def __init__(self, rate: int) -> None:
        self._rate, self._http = rate, httpx.HTTPTransport()
        self.answers: list[int] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request slowly."""
        stream = Slow(request.read(), self._rate)
        slow = httpx.Request(request.method, request.url, headers=request.headers, stream=stream)
        response = self._http.handle_request(slow)
        self.answers.append(response.status_code)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def test_index_command_splits_batches_for_a_small_request_limit(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, report = tmp_path / "pictures", tmp_path / "refused.csv"
    folder.mkdir()
    for at in range(20):
        (folder / f"{at:02}.png").write_bytes(noise(at, 60))
    (folder / "07-large.png").write_bytes(noise(99, 200))
    monkeypatch.setenv("LOOKALIKE_MAX_REQUEST_BYTES", "50000")
    with serving(settings) as service:
        result = run(tmp_path / "none", str(folder), "--url", str(service.base_url), "--rejections", str(report))
        again = run(tmp_path / "none", str(folder), "--url", str(service.base_url))
        assert service.get("/stats").json()["images"] == 20
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (1, "20 created, 1 rejected")
    with report.open() as file:
        (row,) = csv.DictReader(file)
    assert (row["key"], "larger than 50,000 bytes" in row["reason"]) == ("07-large.png", True)
    assert "20 unchanged, 1 rejected" in output_of(again)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_slow_uplink_is_retried_in_smaller_batches(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_REQUEST_READ_TIMEOUT_SECONDS", "2")
    uplink = Uplink(rate=100_000)
    pictures = [entry(str(at), noise(at, 115)) for at in range(12)]
    with serving(settings) as service, Lookalike(str(service.base_url), transport=uplink) as client:
        outcomes = filled(pictures, client)
        assert client.stats().images == 12
    assert [(outcome.key, outcome.status) for outcome in outcomes] == [(str(at), "created") for at in range(12)]
    assert 408 in uplink.answers
