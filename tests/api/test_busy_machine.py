"""Decode processes without CPU time: searches and additions return 503, and jobs wait."""

import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext

import pytest
from fastapi.testclient import TestClient

from app.bootstrap import Service, build_service
from app.catalogue.database.sessions import Database
from app.errors import DecodingUnavailableError
from app.main import create_app
from app.model_switch.networks import OpenNetwork, decode_limits
from app.search.decode.sandbox import DecodeConfig, Sandbox
from app.settings import Settings
from tests.api.job_helpers import counts, sample_images, send_archive, wait_until_ended
from tests.crash.ledger import numbered_image
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.ingest.archives import zipped
from tests.ingest.networks import fake_networks

BATCH = [("images", (f"{at}.png", numbered_image(at), "image/png")) for at in range(6)]


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[Sandbox]:
    """Real decode processes with a short wall-clock limit."""
    with closing(
        Sandbox(DecodeConfig(FAKE_NETWORK.preprocess, decode_limits(settings)), 2, 2.0, wall_seconds=5.0)
    ) as opened:
        yield opened


@pytest.fixture
def client(settings: Settings, sandbox: Sandbox) -> Iterator[TestClient]:
    with serve(settings, sandbox) as client:
        yield client


def serve(settings: Settings, sandbox: Sandbox) -> TestClient:
    """Return a client of a service with the fake model and real decode processes."""

    def opener(settings: Settings) -> AbstractContextManager[Service]:
        @contextmanager
        def opened() -> Iterator[Service]:
            network = OpenNetwork(FAKE_NETWORK, FakeEncoder(), sandbox, sandbox.interrupt)
            with (
                closing(Database(str(settings.database_url))) as database,
                build_service(settings, database, FAKE_CHECKPOINT, nullcontext(network), fake_networks) as service,
            ):
                yield service

        return opened()

    return TestClient(create_app(settings, opener), raise_server_exceptions=False)


def stop(sandbox: Sandbox) -> None:
    """Stop every decode process, as on a machine without free CPU time."""
    for process in sandbox._idle.queue:
        process.wait_until_ready()
        process._process.send_signal(signal.SIGSTOP)


def test_search_on_a_busy_machine_returns_503_with_retry_after(client: TestClient, sandbox: Sandbox) -> None:
    stop(sandbox)
    answer = client.post("/search", files={"image": numbered_image(1)})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "too busy" in answer.json()["detail"]
    assert client.post("/search", files={"image": b"text"}).status_code == 422
    counted = re.findall(r'lookalike_images_rejected_total{.*code="(\w+)"', client.get("/metrics").text)
    assert counted == ["image_format_unsupported"]


def test_batch_that_cannot_be_decoded_returns_503_as_a_whole_and_can_be_retried(
    client: TestClient, sandbox: Sandbox
) -> None:
    stop(sandbox)
    answer = client.post("/index", files=BATCH)
    assert answer.status_code == 503
    assert client.get("/stats").json()["images"] == 0
    again = client.post("/index", files=BATCH)
    while again.status_code == 503:  # the test machine may be busy too
        again = client.post("/index", files=BATCH)
    assert [item["status"] for item in again.json()["items"]] == ["created"] * len(BATCH)


@pytest.mark.slow
def test_job_on_a_busy_machine_waits_and_rejects_nothing(client: TestClient, sandbox: Sandbox) -> None:
    stop(sandbox)
    now = wait_until_ended(client, send_archive(client, zipped(sample_images(10))), seconds=120)
    assert (now["state"], counts(now)) == ("done", (10, 10, 10, 0, 0, 0))


def test_shutdown_does_not_wait_for_slow_images(settings: Settings) -> None:
    program = (sys.executable, "-m", "tests.search.faulty_worker")
    job = DecodeConfig(FAKE_NETWORK.preprocess, decode_limits(settings))
    with closing(Sandbox(job, 1, 600.0, program)) as sandbox:
        with serve(settings, sandbox) as client:
            job_id = send_archive(client, zipped({"slow.png": b"spins 600", "quick.png": numbered_image(1)}))
            deadline = time.monotonic() + 60
            while sandbox._idle.qsize():  # until the process decodes
                assert time.monotonic() < deadline
                time.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 30, "the image takes ten minutes"
        with pytest.raises(DecodingUnavailableError, match="is stopping"):
            sandbox(numbered_image(1))
    with closing(Sandbox(job, 1, 60.0)) as sandbox, serve(settings, sandbox) as client:
        assert counts(wait_until_ended(client, job_id)) == (2, 2, 1, 0, 0, 1)
