"""A service without keys behind a reverse proxy on the same machine, which connects from loopback."""

from collections.abc import Iterator

import pytest

from app.api.middleware.loopback import ADVICE
from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key
from app.common.scopes import Scope
from app.settings import Settings
from tests.api.server import Server, serve

# Recorded requests to an upstream at 127.0.0.1 for `curl http://127.0.0.1/stats -H "Host: localhost"`.
AGENT = b"User-Agent: curl/7.88.1\r\nAccept: */*\r\n"
PROXIES = {
    "nginx 1.22, stock": b"HTTP/1.0\r\nHost: 127.0.0.1:8000\r\nConnection: close\r\n" + AGENT,
    "nginx 1.22 with Debian's proxy_params": b"HTTP/1.0\r\nHost: localhost\r\nX-Real-IP: 127.0.0.1\r\n"
    b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nConnection: close\r\n" + AGENT,
    "HAProxy 2.6 with option forwardfor": b"HTTP/1.1\r\nhost: localhost\r\n"
    + AGENT.lower()
    + b"x-forwarded-for: 1\r\n",
}
HEADERS = (
    "Forwarded: for=192.0.2.1",
    "FORWARDED: for=192.0.2.1",
    "X-Forwarded-For: 127.0.0.1",
    "x-forwarded-proto: https",
    "X-Forwarded-Host: localhost",
    "X-Forwarded-Anything: 1",
    "X-Real-IP: 127.0.0.1",
    "Via: 1.1 varnish",
    "via:",
    "CDN-Loop: example",
    "True-Client-IP: 127.0.0.1",
)
PATHS = (b"GET /stats", b"GET /images", b"POST /search", b"POST /index", b"DELETE /images/1", b"GET /metrics")


@pytest.fixture
def server(settings: Settings) -> Iterator[Server]:
    with serve(settings.model_copy(update={"auth": "auto"})) as running:
        yield running


def head(target: bytes, *headers: str, version: str = "1.1") -> bytes:
    lines = [f"HTTP/{version}", "Host: localhost", "Connection: close", "Content-Length: 0", *headers]
    return target + b" " + "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("proxy", PROXIES)
def test_without_keys_forwarded_requests_return_403(server: Server, proxy: str) -> None:
    for path in (b"/stats", b"/images", b"/metrics"):
        rest = PROXIES[proxy] if b"onnection: close" in PROXIES[proxy] else PROXIES[proxy] + b"Connection: close\r\n"
        status, answer = server.request(b"GET " + path + b" " + rest + b"\r\n")
        assert status == 403
        assert b"came through a proxy" in answer
        assert ADVICE.encode() in answer


@pytest.mark.parametrize("header", HEADERS)
def test_without_keys_every_forwarding_header_returns_403(server: Server, header: str) -> None:
    for target in PATHS:
        status, answer = server.request(head(target, header))
        assert status == 403, target
        assert b"lookalike keys create NAME" in answer


def test_without_keys_local_programs_are_accepted(server: Server) -> None:
    assert server.request(head(b"GET /stats"))[0] == 200
    assert server.request(head(b"GET /stats", "X-Request-ID: 1", "Origin: http://localhost", "Referer: x"))[0] == 200
    assert server.request(head(b"GET /stats", version="1.0"))[0] == 403


def test_page_and_health_checks_are_open_behind_a_proxy(server: Server) -> None:
    for path in (b"/", b"/healthz", b"/readyz", b"/docs", b"/web/app.js"):
        assert server.request(head(b"GET " + path, "Via: 1.1 proxy"))[0] == 200
    assert b"images" not in server.request(head(b"GET /readyz", "Via: 1.1 proxy"))[1]


def test_with_a_key_forwarded_requests_are_accepted(server: Server, database: Database) -> None:
    with database.transaction() as session:
        key = create_key(session, "one", [Scope.SEARCH])
    for header in HEADERS:
        status, _ = server.request(head(b"GET /images", header, f"Authorization: Bearer {key}"))
        assert status == 200
    shown = f"Authorization: Bearer {key}\r\nConnection: close\r\n\r\n".encode()
    for rest in PROXIES.values():
        assert server.request(b"GET /images " + rest.replace(b"Connection: close\r\n", b"") + shown)[0] == 200


def test_with_authentication_off_forwarded_requests_are_accepted(settings: Settings) -> None:
    with serve(settings.model_copy(update={"auth": "off"})) as server:
        assert server.request(head(b"GET /stats", "X-Forwarded-For: 192.0.2.1"))[0] == 200
        assert server.request(head(b"GET /stats", version="1.0"))[0] == 200
