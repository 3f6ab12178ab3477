"""Admission control: callers share permits, memory, threads and connections fairly."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from app import main
from app.api.admission.request_classes import MAX_ARCHIVE_UPLOADS
from app.api.admission.threads import FairExecutor
from app.api.routes import duplicates, images
from app.api.routes.index import CHUNK_BYTES, CHUNK_IMAGES, chunks
from app.catalogue import queries, sorting
from app.catalogue.database.priority import ConnectionLimiter, Priority, priority
from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key
from app.common.memory import usable_memory
from app.common.scopes import Scope
from app.errors import UnavailableError
from app.settings import Settings
from tests.api.sockets import connect, serve_on_port
from tests.api.test_images import filled, pages
from tests.api.test_index import add_images
from tests.images import corners, encoded

PICTURE = encoded(corners(60, 40), "PNG")
FORM = "Content-Type: multipart/form-data; boundary=b\r\n"
MOST = 8


@pytest.fixture
def keys(database: Database) -> tuple[str, str]:
    """Two keys with the scope admin."""
    with database.transaction() as session:
        return create_key(session, "one", [Scope.ADMIN]), create_key(session, "two", [Scope.ADMIN])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def search(port: int, key: str | None = None) -> httpx2.Response:
    headers = bearer(key) if key else {}
    return httpx2.post(f"http://127.0.0.1:{port}/search", files={"image": PICTURE}, headers=headers, timeout=60)


def begin(port: int, target: str, headers: str = "", length: int = 1000, body: bytes = b"") -> socket.socket:
    """Send the head of a request, and a part of its body."""
    connection = connect(port)
    head = f"{target} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def status(connection: socket.socket) -> int:
    connection.settimeout(20)
    return int(connection.recv(65_536).split()[1])


@contextmanager
def waiting(connections: list[socket.socket]) -> Iterator[None]:
    """Keep connections open for the duration of the block."""
    with ExitStack() as stack:
        for connection in connections:
            stack.enter_context(closing(connection))
        time.sleep(0.3)
        yield


def test_slow_bodies_without_a_key_do_not_block_searches_with_a_key(settings: Settings, keys: tuple[str, str]) -> None:
    with serve_on_port(settings.model_copy(update={"auth": "auto", "max_concurrent_requests": MOST})) as port:
        slow = [begin(port, target) for target in ("POST /session", "GET /docs", "GET /healthz") for _ in range(30)]
        with waiting(slow):
            assert [search(port, keys[0]).status_code for _ in range(5)] == [200] * 5
            assert httpx2.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            assert httpx2.get(f"http://127.0.0.1:{port}/").status_code == 200


def test_slow_requests_with_one_key_do_not_block_another_key(settings: Settings, keys: tuple[str, str]) -> None:
    headers = f"Authorization: Bearer {keys[0]}\r\n"
    targets = [("POST /search", FORM), ("PATCH /images/1", ""), ("POST /index", FORM), ("POST /jobs", "")]
    with serve_on_port(settings.model_copy(update={"auth": "auto", "max_concurrent_requests": MOST})) as port:
        slow = [begin(port, target, headers + more) for target, more in targets for _ in range(20)]
        with waiting(slow):
            assert [search(port, keys[1]).status_code for _ in range(5)] == [200] * 5
            with closing(begin(port, "POST /jobs", f"Authorization: Bearer {keys[1]}\r\n", 4, b"none")) as archive:
                assert status(archive) == 422, "not an archive, but the upload was accepted"


def test_one_key_may_use_half_of_the_archive_uploads(settings: Settings, keys: tuple[str, str]) -> None:
    headers = f"Authorization: Bearer {keys[0]}\r\n"
    with serve_on_port(settings.model_copy(update={"auth": "auto"})) as port, ExitStack() as stack:
        for _ in range(MAX_ARCHIVE_UPLOADS // 2):
            stack.enter_context(closing(begin(port, "POST /jobs", headers)))
        time.sleep(0.3)
        one_more = stack.enter_context(closing(begin(port, "POST /jobs", headers)))
        assert status(one_more) == 503


def test_incomplete_request_has_no_effect(settings: Settings) -> None:
    with serve_on_port(settings) as port, httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
        added = client.post("/index", files={"images": PICTURE}).json()["items"][0]["id"]
        begin(port, f"DELETE /images/{added}", length=10, body=b"12345").close()
        with waiting([begin(port, f"DELETE /images/{added}", length=10, body=b"12345")]):
            assert client.get(f"/images/{added}").status_code == 200
        assert client.get(f"/images/{added}").status_code == 200
        assert client.request("DELETE", f"/images/{added}", content=b"1234567890").status_code == 204


def test_request_above_the_concurrency_limit_returns_503_with_retry_after(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, held = threading.Barrier(MOST + 1), threading.Event()

    def list_page(*_: object, **__: object) -> None:
        inside.wait(60)
        held.wait(60)
        raise ZeroDivisionError

    monkeypatch.setattr(sorting, "list_page", list_page)
    with (
        serve_on_port(settings.model_copy(update={"max_concurrent_requests": MOST})) as port,
        ThreadPoolExecutor(MOST) as callers,
    ):
        calls = [callers.submit(httpx2.get, f"http://127.0.0.1:{port}/images", timeout=120) for _ in range(MOST)]
        inside.wait(60)
        answer = httpx2.get(f"http://127.0.0.1:{port}/jobs")
        held.set()
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert all(call.result().status_code == 500 for call in calls)


def test_health_metrics_and_key_lookups_respond_while_all_threads_are_busy(
    settings: Settings, keys: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, held = threading.Event(), threading.Event()

    def block(*_: object, **__: object) -> None:
        entered.set()
        held.wait(60)
        raise ZeroDivisionError

    monkeypatch.setattr(sorting, "list_page", block)
    monkeypatch.setattr(main, "EXTRA_THREADS", 1 - settings.max_concurrent_requests)
    with serve_on_port(settings.model_copy(update={"auth": "auto"})) as port, ThreadPoolExecutor(2) as callers:
        url = f"http://127.0.0.1:{port}"
        pages = callers.submit(httpx2.get, f"{url}/images", headers=bearer(keys[0]), timeout=120)
        assert entered.wait(60)
        listed = callers.submit(httpx2.get, f"{url}/jobs", headers=bearer(keys[0]), timeout=120)
        try:
            time.sleep(1.5)  # until the cached keys expire
            assert httpx2.get(f"{url}/readyz", timeout=20).status_code == 200
            for key in keys:
                assert httpx2.get(f"{url}/metrics", headers=bearer(key), timeout=20).status_code == 200
            assert httpx2.get(f"{url}/metrics", headers=bearer("lk_1_x"), timeout=20).status_code == 401
            assert httpx2.post(f"{url}/session", json={"key": keys[0]}, timeout=20).status_code == 204
            assert search(port, keys[1]).status_code == 200
            assert not listed.done(), "the only ordinary thread is busy"
        finally:
            held.set()
        assert pages.result().status_code == 500


def test_high_priority_queries_get_connections_while_ordinary_ones_use_all_of_theirs() -> None:
    connections = ConnectionLimiter(10, 0.05)
    with ExitStack() as stack:
        held = 0
        for at_least, more in ((Priority.ORDINARY, 7), (Priority.SEARCH, 2), (Priority.IMMEDIATE, 1)):
            with priority(at_least):
                for _ in range(more):
                    stack.enter_context(connections.acquire())
                    held += 1
                with pytest.raises(UnavailableError), connections.acquire():
                    raise AssertionError
        assert held == 10
    with connections.acquire():
        pass


def test_readyz_and_search_respond_while_ordinary_queries_hold_their_connections(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client.app_state["service"]
    monkeypatch.setattr(service.database._connections, "_patience_s", 0.2)
    with ExitStack() as stack:
        with suppress(UnavailableError):
            while True:
                stack.enter_context(service.database.read_session()).execute(select(1))
        began = time.monotonic()
        assert client.get("/readyz").status_code == 200
        assert client.post("/search", files={"image": PICTURE}).status_code == 200
        assert time.monotonic() - began < 4
        assert client.get("/stats").status_code == 503


def test_fair_executor_runs_tasks_of_callers_in_turn() -> None:
    done: list[str] = []
    ready = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        threads = FairExecutor(pool)
        first = threads.submit("one", ready.wait)
        many = [threads.submit("one", lambda: done.append("one")) for _ in range(20)]
        few = [threads.submit("two", lambda: done.append("two")) for _ in range(2)]
        futures: list[Future[Any]] = [first, *many, *few]
        dropped = threads.submit("two", lambda: done.append("dropped"))
        assert dropped.cancel()
        failing = threads.submit("three", lambda: 1 / 0)
        ready.set()
        for future in futures:
            future.result(20)
        with pytest.raises(ZeroDivisionError):
            failing.result(20)
    assert done.index("two") <= 1
    assert done[:4].count("two") == 2
    assert done.count("one") == 20
    assert "dropped" not in done


def test_bodies_over_the_memory_limit_return_503_before_they_are_read(settings: Settings) -> None:
    with serve_on_port(settings.model_copy(update={"max_buffered_bytes": 300_000})) as port:
        part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'

        def search_status(length: int) -> int:
            body = part + b"x" * (length - len(part) - 9) + b"\r\n--b--\r\n"
            with closing(begin(port, "POST /search", FORM, len(body), body)) as connection:
                return status(connection)

        with waiting([begin(port, "POST /search", FORM, 180_000, part)]):
            assert search_status(180_000) == 503
            assert search(port).status_code == 200, "a small request still fits"
        until = time.monotonic() + 20
        while search_status(180_000) == 503:
            assert time.monotonic() < until
        # A single request is accepted whatever its size.
        assert search_status(10**6) == 422


def test_page_of_images_ends_at_its_metadata_limit(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = filled(client, 7)
    for image_id, size in zip(ids, (10, 900, 10, 10, 5000, 10, 10), strict=True):
        client.patch(f"/images/{image_id}", json={"metadata": {"text": "x" * size}}).raise_for_status()
    monkeypatch.setattr(images, "PAGE_BYTES", 1000)
    found = pages(client, limit=1000)
    assert [one for page in found for one in page] == ids
    assert found == [ids[:4], ids[4:5], ids[5:]]
    assert pages(client, limit=2) == [ids[:2], ids[2:4], ids[4:5], ids[5:]]
    assert pages(client, label="even", limit=3) == [ids[0:4:2], ids[4:5], ids[6:]]


def test_search_with_a_too_large_response_returns_422(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = filled(client, 6)
    for image_id in ids:
        client.patch(f"/images/{image_id}", json={"metadata": {"text": "x" * 1000}}).raise_for_status()
    monkeypatch.setattr(queries, "MAX_METADATA_BYTES", 4000)
    monkeypatch.setattr(queries, "_UNCHECKED_IMAGES", 2)
    refused = client.post("/search", files={"image": PICTURE}, params={"k": 6})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "k"
    assert "6 images" in refused.json()["detail"]
    assert client.get(f"/images/{ids[0]}/similar", params={"k": 6}).status_code == 422
    assert len(client.post("/search", files={"image": PICTURE}, params={"k": 3}).json()["results"]) == 3


def test_page_of_duplicates_ends_at_its_metadata_limit(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    data = [encoded(corners(40 + 8 * at, 30), kind) for at in range(4) for kind in ("PNG", "BMP")]
    add_images(client, *data, metadata=[{"key": str(at), "text": "x" * 500} for at in range(8)])
    whole = client.get("/duplicates", params={"max_distance": 0}).json()
    monkeypatch.setattr(duplicates, "PAGE_BYTES", 100)
    cursor: str | None = ""
    groups, parts = [], 0
    while cursor is not None:
        page = client.get("/duplicates", params={"max_distance": 0} | ({"cursor": cursor} if cursor else {})).json()
        cursor, parts = page["next_cursor"], parts + 1
        groups += page["groups"]
    assert groups == whole["groups"] != []
    assert parts > len(groups) > 0


@given(sizes=st.lists(st.integers(0, CHUNK_BYTES * 2), min_size=1, max_size=200))
def test_chunks_keep_the_order_and_bound_count_and_bytes(sizes: list[int]) -> None:
    found = [list(range(*chunk.indices(len(sizes)))) for chunk in chunks(sizes)]
    assert [at for chunk in found for at in chunk] == list(range(len(sizes)))
    for chunk in found:
        assert 0 < len(chunk) <= CHUNK_IMAGES
        assert len(chunk) == 1 or sum(sizes[at] for at in chunk) <= CHUNK_BYTES


Made = Callable[[dict[str, str]], tuple[Path, Path]]


@pytest.fixture
def cgroups(tmp_path: Path) -> Made:
    """Factory of a control group file system and a process's `cgroup` file."""

    def make(files: dict[str, str]) -> tuple[Path, Path]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path / "fs", tmp_path / "own"

    return make


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"own": "0::/\n", "fs/memory.max": "1000000\n"}, 1_000_000),
        ({"own": "0::/a/b\n", "fs/a/b/memory.max": "max\n", "fs/a/memory.max": "2000000\n"}, 2_000_000),
        ({"own": "4:cpu,memory:/x\n0::/\n", "fs/memory/x/memory.limit_in_bytes": "3000000\n"}, 3_000_000),
        ({"fs/memory.max": "1000000\n"}, 1_000_000),
    ],
)
def test_usable_memory_is_the_limit_of_the_container(cgroups: Made, files: dict[str, str], found: int) -> None:
    assert usable_memory(*cgroups(files)) == found


def test_usable_memory_is_the_machines_without_a_container_limit(cgroups: Made) -> None:
    whole = usable_memory(*cgroups({"own": "0::/\n", "fs/memory.max": "max\n"}))
    assert whole > 100_000_000
    assert whole == usable_memory(Path("/nowhere"), Path("/nowhere"))
