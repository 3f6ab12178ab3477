"""`POST /jobs`: archives go in in the background, once, whatever happens meanwhile."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from app.api import jobs as api
from app.catalogue.database import Database
from app.errors import UnavailableError
from app.ingest import job_files, job_runner
from app.ingest.add import Added, Ingest, Upload
from app.ingest.jobs import turn
from app.main import create_app
from app.settings import Settings
from tests.conftest import open_with_fake
from tests.crash.ledger import drawing, serving
from tests.ingest.archives import gzipped, tarred, zipped

ENDED = ("done", "failed", "cancelled")


def pictures(count: int) -> dict[str, bytes]:
    return {f"folder/{at:04}.png": drawing(at) for at in range(count)}


def send(client: TestClient | httpx2.Client, archive: bytes) -> int:
    answer = client.post("/jobs", content=archive)
    assert answer.status_code == 202, answer.text
    job_id: int = answer.json()["id"]
    assert answer.headers["location"] == f"/jobs/{job_id}"
    return job_id


def job(client: TestClient | httpx2.Client, job_id: int) -> dict[str, Any]:
    answer = client.get(f"/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def ended(client: TestClient | httpx2.Client, job_id: int, seconds: float = 60) -> dict[str, Any]:
    """The job, once it has ended."""
    return when(client, job_id, lambda now: now["state"] in ENDED, seconds)


def when(
    client: TestClient | httpx2.Client, job_id: int, so: Callable[[dict[str, Any]], bool], seconds: float = 60
) -> dict[str, Any]:
    until = time.monotonic() + seconds
    while not so(now := job(client, job_id)):
        assert time.monotonic() < until, now
        time.sleep(0.02)
    return now


def counts(now: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(now[name] for name in ("total", "done", "created", "updated", "unchanged", "rejected"))


def keys(client: TestClient | httpx2.Client) -> list[str]:
    return [item["key"] for item in client.get("/images", params={"limit": 1000}).json()["items"]]


def left(settings: Settings) -> list[Path]:
    folder = settings.data_dir / "jobs"
    return list(folder.iterdir()) if folder.exists() else []


@contextmanager
def opened(settings: Settings, **changes: object) -> Iterator[TestClient]:
    app = create_app(settings.model_copy(update=changes), open_with_fake)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


class Gate:
    """Lets additions through while it is open."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.calls = threading.Event(), 0
        plain = Ingest.add

        def add(ingest: Ingest, uploads: Sequence[Upload]) -> list[Added]:
            self.calls += 1
            assert self.open.wait(30)
            return plain(ingest, uploads)

        monkeypatch.setattr(Ingest, "add", add)


@pytest.mark.parametrize("made", [zipped, tarred, gzipped])
@pytest.mark.parametrize("form", [True, False], ids=["form", "body"])
def test_an_archive_goes_in_in_the_background(
    client: TestClient, settings: Settings, made: Callable[[Mapping[str, bytes]], bytes], form: bool
) -> None:
    data = made({**pictures(150), "notes.txt": b"none"})
    if form:
        other = ("other", ("other.bin", b"x" * 100_000))
        answer = client.post("/jobs", files=[other, ("archive", ("pictures.zip", data))])
        assert answer.status_code == 202, answer.text
        job_id = int(answer.json()["id"])
    else:
        job_id = send(client, data)
    now = ended(client, job_id)
    assert (now["state"], now["error"], now["bytes"]) == ("done", None, len(data))
    assert counts(now) == (150, 150, 150, 0, 0, 0)
    assert sorted(keys(client)) == list(pictures(150))
    found = client.post("/search", files={"image": drawing(7)}).json()["results"][0]
    assert (found["key"], found["label"], found["distance"]) == ("folder/0007.png", "folder", 0)
    assert left(settings) == []


def test_what_cannot_be_used_is_listed_with_the_reason(client: TestClient) -> None:
    table = "file,key,price\none.png,sku-1,3\ngone.png,sku-2,4\n"
    archive = {
        "one.png": drawing(1),
        "broken.jpg": b"not a picture",
        "metadata.csv": table.encode(),
        "k" * 600 + ".png": b"",
    }
    now = ended(client, send(client, zipped(archive)))
    assert counts(now) == (4, 4, 1, 0, 0, 3)
    reasons = {item["name"][:10]: item["reason"] for item in now["rejections"]}
    assert "not a picture" in reasons["broken.jpg"]
    assert "longer than 512" in reasons["k" * 10]
    assert reasons["line 3 of "] == "There is no file gone.png."
    (stored,) = client.get("/images").json()["items"]
    assert (stored["key"], stored["metadata"]) == ("sku-1", {"price": 3})


def test_the_same_archive_again_changes_nothing(client: TestClient) -> None:
    ended(client, send(client, zipped(pictures(70))))
    now = ended(client, send(client, gzipped(pictures(70))))
    assert counts(now) == (70, 70, 0, 0, 70, 0)


def test_jobs_are_listed_the_latest_first(client: TestClient) -> None:
    ids = [send(client, zipped({f"{at}.png": drawing(at)})) for at in range(3)]
    for job_id in ids:
        ended(client, job_id)
    page = client.get("/jobs", params={"limit": 2}).json()
    assert [item["id"] for item in page["items"]] == ids[:0:-1]
    rest = client.get("/jobs", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == (ids[:1], None)


def test_who_watches_a_job_hears_of_every_step(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "EVERY_S", 0.01)
    job_id = send(client, zipped(pictures(100)))
    with client.stream("GET", f"/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")]
    assert told[-1]["state"] == "done"
    assert [one["done"] for one in told] == sorted(one["done"] for one in told)
    assert client.get("/jobs/99/events").status_code == 404


@pytest.mark.parametrize(
    ("content", "headers", "reason"),
    [
        (b"", {}, "neither a zip nor a tar"),
        (b"not an archive", {}, "neither a zip nor a tar"),
        (b"", {"Content-Type": "multipart/form-data"}, "what stands between its parts"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, "form that cannot be read"),
        (b"--b\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, "ends too soon"),
        (
            b'--b\r\nContent-Disposition: form-data; name="other"\r\n\r\nx\r\n--b--\r\n',
            {"Content-Type": "multipart/form-data; boundary=b"},
            "is missing",
        ),
    ],
)
def test_what_is_no_archive_is_refused_at_once(
    client: TestClient, settings: Settings, content: bytes, headers: dict[str, str], reason: str
) -> None:
    answer = client.post("/jobs", content=content, headers=headers)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["archive"]
    assert reason in answer.json()["detail"]
    assert left(settings) == []
    assert client.get("/jobs").json()["items"] == []


def test_a_job_that_is_not_there_is_not_found(client: TestClient) -> None:
    for answer in (client.get("/jobs/7"), client.post("/jobs/7/cancel"), client.get("/jobs/7/events")):
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no job 7 in the catalogue.")
    assert client.get("/jobs/0").status_code == 422


def test_archives_have_a_limit_of_their_own(settings: Settings) -> None:
    archive = zipped(pictures(10))
    with opened(settings, max_request_bytes=1000, max_job_bytes=len(archive)) as client:
        assert ended(client, send(client, archive))["state"] == "done"
        for content in (archive + b"x", iter([archive, b"x"])):
            answer = client.post("/jobs", content=content)
            assert answer.status_code == 413, answer.text
        assert client.post("/index", files={"images": bytes(2000)}).status_code == 413
        assert left(settings) == []


def test_a_full_disk_is_said_before_it_is_full(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped({"a.png": bytes(100_000)}, 0)
    with monkeypatch.context() as patched:
        usage = type(shutil.disk_usage("/"))
        patched.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, job_files.LEAST_FREE + 1000))
        answer = client.post("/jobs", content=archive)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
        patched.setattr(job_files, "_LOOK_EVERY", 1000)
        free = iter([job_files.LEAST_FREE + 1, 0])
        patched.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, next(free)))
        assert client.post("/jobs", content=iter([archive])).status_code == 503, "nobody said how much would come"
    assert left(settings) == []
    assert ended(client, send(client, archive))["state"] == "done"


def test_more_files_than_are_taken_fail_the_job_before_anything_goes_in(settings: Settings) -> None:
    with opened(settings, max_job_entries=5) as client:
        now = ended(client, send(client, gzipped(pictures(6))))
        assert (now["state"], now["done"]) == ("failed", 0)
        assert "more than 5 files" in now["error"]
        assert keys(client) == []
        assert left(settings) == []


def test_of_a_damaged_archive_what_came_before_goes_in(client: TestClient) -> None:
    whole = tarred(pictures(100))
    now = ended(client, send(client, whole[: len(whole) // 2]))
    assert now["state"] == "failed"
    assert "damaged" in now["error"]
    assert 30 < now["created"] < 60
    assert len(keys(client)) == now["created"]


def test_a_job_can_be_cancelled_twice(client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    job_id = send(client, zipped(pictures(1000)))
    when(client, job_id, lambda _: gate.calls > 0)
    first, second = (client.post(f"/jobs/{job_id}/cancel") for _ in range(2))
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (second.status_code, second.json()) == (200, first.json())
    gate.open.set()
    until = time.monotonic() + 30
    while left(settings):
        assert time.monotonic() < until
        time.sleep(0.02)
    now = job(client, job_id)
    assert now["state"] == "cancelled"
    assert 0 < now["created"] < 1000, "what was under way came in, and no more"
    assert len(keys(client)) == now["created"]
    done = ended(client, send(client, zipped(pictures(1))))
    assert client.post(f"/jobs/{done['id']}/cancel").json()["state"] == "done", "too late"


def test_a_restart_goes_on_where_the_job_was(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    with opened(settings) as client:
        job_id = send(client, zipped(pictures(600)))
        when(client, job_id, lambda _: gate.calls > 0)
        # It ends with the service: what is under way is finished, the rest is left.
        threading.Timer(0.5, gate.open.set).start()
    with opened(settings) as client:
        now = ended(client, job_id)
    assert counts(now) == (600, 600, 600, 0, 0, 0), "nothing was added twice"


def test_only_whoever_has_the_turn_works_and_the_others_go_on(
    client: TestClient, settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_runner, "_EVERY_S", 0.05)
    with turn(database) as mine, turn(database) as other:
        assert (mine, other) == (True, False)
        job_id = send(client, zipped(pictures(10)))
        time.sleep(0.5)
        assert job(client, job_id)["done"] == 0
        assert client.post("/index", files={"images": drawing(99)}).status_code == 201
        assert client.post("/search", files={"image": drawing(99)}).status_code == 200
    assert ended(client, job_id)["state"] == "done"


def test_two_processes_never_work_on_one_job(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runner, "_EVERY_S", 0.01)
    with opened(settings) as one, opened(settings) as other:
        ids = [send(client, zipped(pictures(130))) for client in (one, other, one)]
        found = [counts(ended(client, job_id)) for client, job_id in zip((other, one, other), ids, strict=True)]
    assert found == [(130, 130, 130, 0, 0, 0), (130, 130, 0, 0, 130, 0), (130, 130, 0, 0, 130, 0)]


def test_a_job_waits_for_what_may_come_back_and_says_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_runner, "_EVERY_S", 0.05)
    gate = Gate(monkeypatch)
    gate.open.set()
    with monkeypatch.context() as patched:
        patched.setattr(Ingest, "add", full)
        job_id = send(client, zipped(pictures(10)))
        now = when(client, job_id, lambda now: now["error"] is not None)
        assert (now["state"], now["error"]) == ("running", "The disk that holds the pictures is full.")
    assert (ended(client, job_id)["state"], job(client, job_id)["error"]) == ("done", None)


def full(*_: object) -> list[Added]:
    raise UnavailableError("The disk that holds the pictures is full.", retry_after=1)


def test_a_bug_fails_its_job_and_not_the_next(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Ingest, "add", lambda *_: 1 / 0)
        now = ended(client, send(client, zipped(pictures(1))))
    assert (now["state"], now["error"]) == ("failed", "Something went wrong here; the server's log says what.")
    assert ended(client, send(client, zipped(pictures(1))))["state"] == "done"


def test_few_may_send_or_watch_at_once(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = send(client, zipped(pictures(1)))
    monkeypatch.setattr(api, "MOST", {api.ARRIVING: 0, api.WATCHING: 0})
    assert client.post("/jobs", content=b"x").status_code == 503
    assert client.get(f"/jobs/{job_id}/events").status_code == 503
    assert client.get(f"/jobs/{job_id}").status_code == 200


def test_what_a_crash_left_behind_is_swept_up(settings: Settings, client: TestClient) -> None:
    folder = settings.data_dir / "jobs"
    folder.mkdir(parents=True)
    old, young = folder / ".old", folder / ".young"
    for path in (old, young):
        path.write_bytes(b"half an archive")
    os.utime(old, (0, 0))
    ended(client, send(client, zipped(pictures(1))))
    until = time.monotonic() + 10
    while old.exists():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert left(settings) == [young]


def has_gone_on(since: int, now: Mapping[str, Any]) -> bool:
    return bool(now["done"] > since or now["state"] == "done")


@pytest.mark.timeout(300)
def test_a_kill_costs_no_picture_and_no_job(tmp_path: Path) -> None:
    data_dir, archive = tmp_path / "data", zipped(pictures(1500))
    with serving(data_dir) as (client, process, _):
        job_id = send(client, archive)
        when(client, job_id, lambda now: now["done"] > 100)
        process.kill()
    for _ in range(2):
        with serving(data_dir) as (client, process, _):
            before = job(client, job_id)["done"]
            assert before > 0
            when(client, job_id, partial(has_gone_on, before))
            process.kill()
    with serving(data_dir) as (client, process, _):
        now = ended(client, job_id)
        assert now["state"] == "done"
        assert (now["total"], now["done"], now["created"] + now["unchanged"], now["rejected"]) == (1500, 1500, 1500, 0)
        assert client.get("/stats").json()["images"] == 1500
        process.terminate()
        process.wait(60)
