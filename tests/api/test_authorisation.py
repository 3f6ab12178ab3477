"""Authorisation of every operation and method with every kind of credential, over a real socket.

The operations come from the OpenAPI description, so new ones are tested too.
"""

import itertools
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing

import pytest

from app.api.middleware import auth
from app.api.middleware.auth import COOKIE, OPEN_PATHS
from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key, revoke_key
from app.common.scopes import Scope
from app.main import create_app
from app.settings import Settings
from tests.api.server import Server, serve
from tests.conftest import open_with_fake

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE")
SEARCHING = {("POST", "/search"), ("POST", "/search/batch")}
ADMIN = ("/metrics", "/keys")
TRASH = "/trash"
# Statuses of requests that passed authorisation.
PASSED = frozenset({200, 201, 202, 204, 304, 307, 400, 404, 405, 409, 411, 413, 415, 422})
REFUSED = frozenset({401, 403})


def described(settings: Settings) -> list[str]:
    """Return the paths of all operations, with ids that do not exist."""
    paths = create_app(settings, open_with_fake).openapi()["paths"]
    return sorted(re.sub(r"\{\w+\}", "7", path) for path in paths)


def tricks(path: str) -> list[str]:
    """Return variants of a path that a router may resolve to it."""
    return [
        f"{path}/",
        f"/{path}",
        f"//{path}",
        path.upper(),
        f"/.{path}",
        f"/x/..{path}",
        f"/web/..{path}",
        f"/web/%2e%2e{path}",
        f"/docs/..{path}",
        f"/docs{path}",
        f"/healthz/..{path}",
        f"/session{path}",
        f"{path}%2f",
        f"{path}%00",
        f"{path};x=/web/",
        f"{path}?/web/",
        f"{path}?x=\xff",
        f"{path}#/web/",
        f"/%{ord(path[1]):02x}{path[2:]}",
        f"/%{ord(path[1]):02X}{path[2:]}/",
        f"{path}\\",
        f"http://localhost{path}",
        f"http://evil.test{path}",
    ]


class Probe:
    """Sends requests over a connection that is kept open as long as the server allows."""

    def __init__(self, server: Server) -> None:
        self._server, self._connection = server, server.connect()

    def close(self) -> None:
        self._connection.close()

    def __call__(self, method: str, path: str, credentials: Sequence[str] = ()) -> int:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Content-Length: 0", *credentials]
        request = "\r\n".join([*lines, "", ""]).encode("latin-1")
        try:
            return self._answer(request, method)
        except (ConnectionError, EOFError):
            self._connection.close()
            self._connection = self._server.connect()
            return self._answer(request, method)

    def _answer(self, request: bytes, method: str) -> int:
        self._connection.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        status = int(head.split()[1])
        if b"transfer-encoding" in fields or fields.get(b"connection") == b"close":
            self._connection.close()
            self._connection = self._server.connect()
        elif method != "HEAD" and status not in (204, 304):
            while len(body) < int(fields[b"content-length"]):
                body += self._more()
        return status

    def _more(self) -> bytes:
        if not (got := self._connection.recv(65_536)):
            raise EOFError
        return got


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(auth, "CACHE_TTL_S", 3600.0)
    with serve(settings.model_copy(update={"auth": "auto"})) as running:
        yield running


@pytest.fixture
def probe(server: Server) -> Iterator[Probe]:
    with closing(Probe(server)) as opened:
        yield opened


@pytest.fixture
def keys(database: Database) -> dict[str, str]:
    """One key per scope and a revoked one, created before the server's first look-up."""
    created = {}
    with database.transaction() as session:
        for scope in (*Scope, None):
            created[scope or "revoked"] = create_key(session, scope or "revoked", [scope or Scope.ADMIN])
        revoke_key(session, "revoked")
    return created


def needed(method: str, path: str) -> Scope:
    """Return the documented scope of an operation."""
    if path.startswith(ADMIN):
        return Scope.ADMIN
    if path.startswith(TRASH):
        return Scope.WRITE
    if method in ("GET", "HEAD", "OPTIONS") or (method, path) in SEARCHING:
        return Scope.SEARCH
    return Scope.ADMIN if path.startswith("/tasks") else Scope.WRITE


def may(key: Scope, need: Scope) -> bool:
    return key in (need, Scope.ADMIN)


def bearer(token: str) -> list[str]:
    return [f"Authorization: Bearer {token}"]


def test_every_operation_requires_its_scope(keys: dict[str, str], settings: Settings, probe: Probe) -> None:
    wrong = []
    for path, method in itertools.product(described(settings), METHODS):
        for scope in Scope:
            token = keys[scope]
            for credentials in (bearer(token), [f"Cookie: {COOKIE}={token}"]):
                status = probe(method, path, credentials)
                expected = PASSED if path in OPEN_PATHS or may(scope, needed(method, path)) else {403}
                if status not in expected:
                    wrong.append((method, path, scope, credentials[0][:13], status))
    assert wrong == []


INVALID_CREDENTIALS = {
    "nothing": [],
    "an empty bearer": ["Authorization: Bearer "],
    "a bearer without a token": ["Authorization: Bearer"],
    "another scheme": ["Authorization: Basic {admin}"],
    "no scheme": ["Authorization: {admin}"],
    "a header of another name": [
        "X-API-Key: {admin}",
        "X-Authorization: Bearer {admin}",
        "Proxy-Authorization: Bearer {admin}",
    ],
    "another key's number": ["Authorization: Bearer lk_999_{secret}"],
    "a part of a key": ["Authorization: Bearer lk_1_"],
    "a key and more": ["Authorization: Bearer {admin}x"],
    "two keys in one": ["Authorization: Bearer {admin} {admin}"],
    "a key in capitals": ["Authorization: Bearer {ADMIN}"],
    "a key in quotes": ['Authorization: Bearer "{admin}"'],
    "a revoked key": ["Authorization: Bearer {revoked}"],
    "a revoked key in a cookie": ["Cookie: {cookie}={revoked}"],
    "a cookie of another name": ["Cookie: {cookie}2={admin}; session={admin}"],
    "a cookie in capitals": ["Cookie: {COOKIE}={admin}"],
    "a wrong key before a cookie": ["Authorization: Bearer lk_1_no", "Cookie: {cookie}={admin}"],
    "a wrong key before a right one": ["Authorization: Bearer lk_1_no", "Authorization: Bearer {admin}"],
    "a wild card": ["Authorization: Bearer *", "Authorization: Bearer %"],
    "a quote": ["Authorization: Bearer lk_1_' OR '1'='1"],
    "a long one": ["Authorization: Bearer lk_1_" + "x" * 5000],
    "a local address": ["X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1"],
    "another method": ["X-HTTP-Method-Override: GET", "X-Original-URL: /healthz", "X-Rewrite-URL: /healthz"],
}


def filled(lines: Sequence[str], keys: dict[str, str]) -> list[str]:
    admin = keys[Scope.ADMIN]
    values = {"admin": admin, "ADMIN": admin.upper(), "revoked": keys["revoked"], "secret": admin.split("_", 2)[2]}
    return [line.format(**values, cookie=COOKIE, COOKIE=COOKIE.upper()) for line in lines]


def test_invalid_credentials_return_401_for_every_operation(
    keys: dict[str, str], settings: Settings, probe: Probe
) -> None:
    wrong = []
    for kind, path, method in itertools.product(INVALID_CREDENTIALS, described(settings), METHODS):
        status = probe(method, path, filled(INVALID_CREDENTIALS[kind], keys))
        if status not in (PASSED | {401} if path == "/session" else PASSED if path in OPEN_PATHS else {401}):
            wrong.append((kind, method, path, status))
    assert wrong == []


@pytest.mark.parametrize(
    "header",
    ["authorization: bearer {admin}", "AUTHORIZATION: BEARER {admin}", "Authorization:Bearer  {admin}  "],
)
def test_authorization_header_is_case_insensitive(keys: dict[str, str], probe: Probe, header: str) -> None:
    assert probe("GET", "/images", filled([header], keys)) == 200


def test_path_variants_do_not_bypass_authorisation(
    keys: dict[str, str], settings: Settings, server: Server, probe: Probe
) -> None:
    wrong = []
    for path, method in itertools.product(described(settings), ("GET", "HEAD", "POST", "DELETE")):
        for written in () if path in OPEN_PATHS else tricks(path):
            for who, credentials, refused in (
                ("anonymous", [], REFUSED),
                ("search", bearer(keys[Scope.SEARCH]), REFUSED | {404, 405}),
            ):
                status = probe(method, written, credentials)
                # Not found or rejected; a search key may also read.
                harmless = refused | {400, 404, 405, 307}
                if who == "search" and needed(method, path) == Scope.SEARCH:
                    harmless |= PASSED
                if status not in harmless or (status == 307 and who == "anonymous"):
                    wrong.append((method, written, who, status))
    assert wrong == []


def test_search_key_reads_no_metrics_with_any_path_variant(keys: dict[str, str], server: Server) -> None:
    for written in ("/metrics", *tricks("/metrics")):
        head = f"GET {written} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        request = f"{head}Authorization: Bearer {keys[Scope.SEARCH]}\r\n\r\n".encode("latin-1")
        with closing(server.connect()) as connection:
            connection.sendall(request)
            connection.settimeout(30)
            answer = _all(connection)
        assert b"lookalike_http_requests_total" not in answer, written


def _all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def test_open_paths_reveal_nothing_about_the_catalogue(keys: dict[str, str], server: Server) -> None:
    for path in ("/", "/healthz", "/readyz", "/openapi.json", "/docs", "/redoc", "/nowhere", "/session"):
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        _, answer = server.request(head.encode())
        head_of, _, body = answer.partition(b"\r\n\r\n")
        if path == "/readyz":
            assert body == b'{"status":"ready"}'
        if path == "/healthz":
            assert body == b'{"status":"alive"}'
        for secret in (b"postgresql", str(server.port).encode(), b"fake"):
            assert secret not in body.lower(), path
            assert secret not in head_of.lower(), path
