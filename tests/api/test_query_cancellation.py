"""Cancellation of database statements when a client disconnects, over a real socket."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlencode

import httpx2
import psycopg
import pytest

from app.api.middleware.auth import ApiKeyCache
from app.catalogue.database.cancellation import Caller, current_caller
from app.settings import Settings
from tests.api.sockets import serve_on_port
from tests.catalogue.postgres import connect
from tests.catalogue.slow_statements import running_statements, wait_until
from tests.images import corners, encoded

PICTURE = encoded(corners(60, 40), "PNG")
FILTER = json.dumps({"colour": "red"})
SLOW = "jsonb_path_exists"


@pytest.fixture
def port(settings: Settings) -> Iterator[int]:
    with serve_on_port(settings) as listening:
        yield listening


@pytest.fixture
def slowed(port: int, migrated_url: str) -> Iterator[psycopg.Connection]:
    """A catalogue of one image in which filters block as long as the table `slow` has a row."""
    answer = httpx2.post(
        f"http://127.0.0.1:{port}/index",
        files={"images": PICTURE},
        data={"metadata": '[{"colour": "red"}]'},
        timeout=60,
    )
    assert answer.status_code == 201, answer.text
    with connect(migrated_url) as connection:
        connection.execute("CREATE TABLE public.slow AS SELECT 1 AS row")
        connection.execute(
            f"CREATE FUNCTION public.{SLOW}(jsonb, jsonpath, jsonb) RETURNS boolean LANGUAGE plpgsql AS "
            "$$ BEGIN WHILE EXISTS (SELECT FROM public.slow) LOOP PERFORM pg_sleep(0.02); END LOOP; RETURN true; END $$"
        )
        # New connections find this function before PostgreSQL's built-in one.
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} SET search_path = public, pg_catalog".encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [name],
        )
        wait_until(lambda: httpx2.get(f"http://127.0.0.1:{port}/readyz", timeout=60).status_code == 200)
        yield connection
        # End statements that still run, so that the server can stop.
        connection.execute("DELETE FROM public.slow")


def connect_to(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def sent(port: int, request: str, body: bytes = b"") -> socket.socket:
    connection = connect_to(port)
    connection.sendall(f"{request}\r\nHost: 127.0.0.1\r\n".encode() + body)
    return connection


def request_of(path: str) -> tuple[str, bytes]:
    query = urlencode({"filter": FILTER})
    if path != "/search":
        return f"GET {path}?{query} HTTP/1.1", b"\r\n"
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + PICTURE + b"\r\n--b--\r\n"
    head = f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {len(form)}\r\n\r\n"
    return f"POST {path}?{query} HTTP/1.1", head.encode() + form


@pytest.mark.parametrize("path", ["/facets", "/images", "/images/1/similar", "/search"])
def test_disconnect_cancels_the_running_statement(port: int, slowed: psycopg.Connection, path: str) -> None:
    connection = sent(port, *request_of(path))
    wait_until(lambda: running_statements(slowed, SLOW) == 1)
    time.sleep(0.2)
    assert running_statements(slowed, SLOW) == 1, "the statement runs while its client waits"
    connection.close()
    wait_until(lambda: running_statements(slowed, SLOW) == 0)
    assert httpx2.get(f"http://127.0.0.1:{port}/images/1", timeout=60).status_code == 200


def test_pipelined_request_does_not_inherit_the_caller_of_the_one_before(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers = list[Caller | None]()
    keys_exist = ApiKeyCache.keys_exist

    def note(api_keys: ApiKeyCache) -> bool:
        callers.append(current_caller())
        return keys_exist(api_keys)

    monkeypatch.setattr(ApiKeyCache, "keys_exist", note)
    monkeypatch.setattr("app.api.middleware.auth.CACHE_TTL_S", 0.0)
    keyed = settings.model_copy(update={"auth": "auto"})
    request = b"GET /images HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    with serve_on_port(keyed) as port, closing(connect_to(port)) as connection:
        # The second request arrives before the first response, and starts right after it.
        connection.sendall(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
        while connection.recv(65_536):
            pass
    assert callers == [None, None]


def test_disconnect_does_not_cancel_a_shared_statement_for_the_other_client(
    port: int, slowed: psycopg.Connection
) -> None:
    def statements() -> set[int]:
        found = slowed.execute(
            "SELECT pid FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() "
            "AND datname = current_database() AND strpos(query, %s) > 0",
            [SLOW],
        )
        return {pid for (pid,) in found}

    leaves = sent(port, *request_of("/facets"))
    wait_until(lambda: len(statements()) == 1)
    (first,) = statements()
    with closing(sent(port, *request_of("/facets"))) as stays:
        leaves.close()
        wait_until(lambda: len(statements() - {first}) == 1)
        slowed.execute("DELETE FROM public.slow")
        assert b" 200 OK" in stays.recv(4096)


def test_disconnect_is_not_logged_as_an_error(
    port: int, slowed: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        connection = sent(port, *request_of("/facets"))
        wait_until(lambda: running_statements(slowed, SLOW) == 1)
        connection.close()
        wait_until(lambda: any('"GET /facets' in line and " 499 " in line for line in caplog.messages))
    assert [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.fixture
def short_timeout(settings: Settings) -> Settings:
    """Settings with a short statement timeout."""
    return settings.model_copy(update={"statement_timeout_seconds": 0.5})


def test_statement_timeout_returns_503_with_advice(short_timeout: Settings, slowed: psycopg.Connection) -> None:
    with serve_on_port(short_timeout) as port:
        answer = httpx2.get(f"http://127.0.0.1:{port}/facets", params={"filter": FILTER}, timeout=60)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert "a filter with fewer comparisons" in answer.json()["detail"]
        assert running_statements(slowed, SLOW) == 0
