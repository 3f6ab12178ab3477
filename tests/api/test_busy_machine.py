"""A machine that leaves the decoders no time is answered by 503, and costs no picture its place in the catalogue."""

import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext

import pytest
from fastapi.testclient import TestClient

from app.bootstrap import Service, over
from app.catalogue.database.sessions import Database
from app.errors import DecodingUnavailableError
from app.main import create_app
from app.model_switch.networks import OpenNetwork, limits_of
from app.search.decode.sandbox import Job, Sandbox
from app.settings import Settings
from tests.api.job_steps import counts, ended, pictures, send
from tests.crash.ledger import drawing
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.ingest.archives import zipped
from tests.ingest.networks import fake_networks

BATCH = [("images", (f"{at}.png", drawing(at), "image/png")) for at in range(6)]


@pytest.fixture
def sandbox(settings: Settings) -> Iterator[Sandbox]:
    """Real decode processes, with a short limit on the time that passes."""
    with closing(Sandbox(Job(FAKE_NETWORK.preprocess, limits_of(settings)), 2, 2.0, wall_seconds=5.0)) as opened:
        yield opened


@pytest.fixture
def client(settings: Settings, sandbox: Sandbox) -> Iterator[TestClient]:
    with served(settings, sandbox) as client:
        yield client


def served(settings: Settings, sandbox: Sandbox) -> TestClient:
    """Serves with the fake network and real decode processes."""

    def opener(settings: Settings) -> AbstractContextManager[Service]:
        @contextmanager
        def opened() -> Iterator[Service]:
            network = OpenNetwork(FAKE_NETWORK, FakeEncoder(), sandbox, sandbox.interrupt)
            with (
                closing(Database(str(settings.database_url))) as database,
                over(settings, database, FAKE_CHECKPOINT, nullcontext(network), fake_networks) as service,
            ):
                yield service

        return opened()

    return TestClient(create_app(settings, opener), raise_server_exceptions=False)


def stop(sandbox: Sandbox) -> None:
    """Stops every decoder, as a machine does that has no time for any of them."""
    for process in sandbox._idle.queue:
        process.wait_until_ready()
        process._process.send_signal(signal.SIGSTOP)


def test_search_on_a_busy_machine_is_answered_503_with_a_time_to_try_again(
    client: TestClient, sandbox: Sandbox
) -> None:
    stop(sandbox)
    answer = client.post("/search", files={"image": drawing(1)})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "too busy" in answer.json()["detail"]
    assert client.post("/search", files={"image": b"text"}).status_code == 422
    counted = re.findall(r'lookalike_images_rejected_total{.*code="(\w+)"', client.get("/metrics").text)
    assert counted == ["image_format_unsupported"]


def test_batch_that_cannot_be_decoded_now_is_refused_as_a_whole_and_can_be_sent_again(
    client: TestClient, sandbox: Sandbox
) -> None:
    stop(sandbox)
    answer = client.post("/index", files=BATCH)
    assert answer.status_code == 503
    assert client.get("/stats").json()["images"] == 0
    again = client.post("/index", files=BATCH)
    while again.status_code == 503:  # the machine may really be as busy as that
        again = client.post("/index", files=BATCH)
    assert [item["status"] for item in again.json()["items"]] == ["created"] * len(BATCH)


def test_job_waits_for_the_machine_and_rejects_nothing(client: TestClient, sandbox: Sandbox) -> None:
    stop(sandbox)
    now = ended(client, send(client, zipped(pictures(10))), seconds=120)
    assert (now["state"], counts(now)) == ("done", (10, 10, 10, 0, 0, 0))


def test_stop_does_not_wait_for_pictures_that_take_minutes(settings: Settings) -> None:
    program = (sys.executable, "-m", "tests.search.faulty_worker")
    job = Job(FAKE_NETWORK.preprocess, limits_of(settings))
    with closing(Sandbox(job, 1, 600.0, program)) as sandbox:
        with served(settings, sandbox) as client:
            job_id = send(client, zipped({"slow.png": b"spins 600", "quick.png": drawing(1)}))
            deadline = time.monotonic() + 60
            while sandbox._idle.qsize():  # until its process decodes
                assert time.monotonic() < deadline
                time.sleep(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < 30, "the picture would have taken ten minutes"
        with pytest.raises(DecodingUnavailableError, match="is stopping"):
            sandbox(drawing(1))
    with closing(Sandbox(job, 1, 60.0)) as sandbox, served(settings, sandbox) as client:
        assert counts(ended(client, job_id)) == (2, 2, 1, 0, 0, 1)
