"""API keys and scopes, host names, origins, and rate limits."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from app.api.middleware import auth
from app.api.middleware.auth import ApiKeyCache
from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key, list_keys, revoke_key
from app.common.scopes import Scope
from app.errors import InvalidInputError, NotFoundError
from app.main import create_app
from app.settings import Settings
from tests.catalogue.postgres import connect
from tests.conftest import open_with_fake
from tests.images import corners, encoded
from tests.ingest.archives import zipped

LOCAL = "http://127.0.0.1:8000"
PICTURE = encoded(corners(60, 40), "PNG")
ARCHIVE = zipped({"one.png": PICTURE})

Open = Callable[..., TestClient]


@pytest.fixture
def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Factory of clients of a service that requires keys and caches none."""
    monkeypatch.setattr(auth, "CACHE_TTL_S", 0.0)
    with ExitStack() as stack:

        def make(base_url: str = LOCAL, **changes: object) -> TestClient:
            app = create_app(settings.model_copy(update={"auth": "auto", **changes}), open_with_fake)
            return stack.enter_context(TestClient(app, base_url=base_url, raise_server_exceptions=False))

        yield make


def make_key(database: Database, *scopes: Scope, name: str = "one") -> str:
    with database.transaction() as session:
        return create_key(session, name, scopes)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def database_unavailable(name: str, postgres_url: str) -> Iterator[None]:
    """Make a database unavailable for the duration of the block."""
    with connect(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_without_keys_local_requests_may_do_everything(opened: Open) -> None:
    client = opened()
    assert client.get("/stats").status_code == 200
    assert client.post("/index", files={"images": PICTURE}).status_code == 201


@pytest.mark.parametrize("host", ["example.com", "192.168.1.7:8000", "127.0.0.1.evil.test", "localhost.evil.test:80"])
def test_without_keys_other_host_names_return_403(opened: Open, host: str) -> None:
    answer = opened().get("/stats", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "local_only")
    assert opened(auth="off").get("/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("address", ["192.168.1.7", "10.0.0.1", "nowhere"])
def test_without_keys_other_addresses_return_403_even_with_a_local_host_name(
    opened: Open, database: Database, address: str
) -> None:
    client, local = opened(f"http://{address}:8000"), {"Host": "localhost:8000"}
    assert client.get("/stats", headers=local).status_code == 403
    key = make_key(database, Scope.SEARCH)
    assert client.get("/stats", headers=local | bearer(key)).status_code == 200
    with database.transaction() as session:
        revoke_key(session, "one")
    answer = client.get("/stats", headers=local)
    assert answer.status_code == 403
    assert address in answer.json()["detail"]


OWN_HOSTS = ("localhost:8000", "LOCALHOST", "127.0.0.1:8000", "[::1]:8000", "search.example", "Search.EXAMPLE.:443")
OTHER_HOSTS = ("evil.test", "evil.test:8000", "", "localhost@evil.test", "search.example.evil.test")


@pytest.mark.parametrize("auth", ["auto", "off"])
def test_host_names_outside_allowed_hosts_are_rejected(opened: Open, auth: str) -> None:
    client = opened(auth=auth, allowed_hosts=("localhost", "search.example"))
    refused = [
        host
        for host in (*OWN_HOSTS, *OTHER_HOSTS)
        if client.get("/stats", headers={"Host": host}).json().get("code") == "host_not_allowed"
    ]
    assert refused == list(OTHER_HOSTS)


@pytest.mark.parametrize("host", ["LOCALHOST", "localhost.", "LocalHost:8000", "[::1]", "[0:0::1]:8000", "127.0.0.1"])
def test_without_keys_every_loopback_name_is_accepted(opened: Open, host: str) -> None:
    assert opened().get("/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("options", [{}, {"auth": "off", "allowed_hosts": ("localhost",)}])
def test_request_with_two_host_headers_returns_403(opened: Open, options: dict[str, object]) -> None:
    client = opened(**options)
    for hosts in (("localhost", "evil.test"), ("evil.test", "localhost"), ("localhost", "localhost")):
        answer = client.get("/stats", headers=[("Host", host) for host in hosts])
        assert answer.status_code == 403


def test_once_there_is_a_key_requests_without_one_return_401(opened: Open, database: Database) -> None:
    client = opened()
    key = make_key(database, Scope.SEARCH)
    refused = client.get("/stats")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["content-type"] == "application/problem+json"
    assert client.get("/stats", headers=bearer(key)).status_code == 200
    assert client.get("/stats", headers=bearer(key) | {"Host": "shop.example"}).status_code == 200
    for path in ("/", "/healthz", "/readyz", "/docs", "/openapi.json", "/web/app.js"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    ["x", "lk_1_wrong", "lk_2_{secret}", "lk_1_{secret}x", "lk__{secret}", "lk_" + "9" * 40 + "_x", "lk_1_\N{SNOWMAN}"],
)
def test_invalid_key_returns_401(opened: Open, database: Database, wrong: str) -> None:
    secret = make_key(database, Scope.ADMIN).split("_", 2)[2]
    header = bearer(wrong.format(secret=secret))["Authorization"].encode()
    answer = opened().get("/stats", headers={b"authorization": header})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [
        (Scope.SEARCH, {"search", "read", "watch"}),
        (Scope.WRITE, {"write", "send"}),
        (Scope.ADMIN, {"search", "read", "write", "send", "watch", "metrics"}),
    ],
)
def test_key_allows_only_its_scopes(opened: Open, database: Database, scope: Scope, allowed: set[str]) -> None:
    client, headers = opened(), bearer(make_key(database, scope))
    statuses = {
        "search": client.post("/search", files={"image": PICTURE}, headers=headers).status_code,
        "read": client.get("/images", headers=headers).status_code,
        "write": client.post("/index", files={"images": PICTURE}, headers=headers).status_code,
        "send": client.post("/jobs", content=ARCHIVE, headers=headers).status_code,
        "watch": client.get("/jobs", headers=headers).status_code,
        "metrics": client.get("/metrics", headers=headers).status_code,
    }
    assert {name for name, status in statuses.items() if status < 300} == allowed
    assert {status for status in statuses.values() if status >= 300} <= {403}


def test_revoked_key_returns_401(opened: Open, database: Database) -> None:
    client, key = opened(), make_key(database, Scope.SEARCH)
    make_key(database, Scope.SEARCH, name="other")
    assert client.get("/stats", headers=bearer(key)).status_code == 200
    with database.transaction() as session:
        revoke_key(session, "one")
    assert client.get("/stats", headers=bearer(key)).status_code == 401
    with database.transaction() as session, pytest.raises(NotFoundError):
        revoke_key(session, "one")


def test_secrets_are_not_stored_and_names_are_unique(database: Database) -> None:
    key = make_key(database, Scope.SEARCH, Scope.WRITE)
    assert re.fullmatch(r"lk_\d+_[\w-]{43}", key)
    with database.read_session() as session:
        (listed,) = list_keys(session)
        stored = session.connection().exec_driver_sql("SELECT api_keys::text FROM api_keys").scalar_one()
    assert (listed.name, set(listed.scopes)) == ("one", {Scope.SEARCH, Scope.WRITE})
    assert key.split("_", 2)[2] not in stored
    with pytest.raises(InvalidInputError, match="already"):
        make_key(database, Scope.SEARCH)


def test_key_cache_expires_after_its_ttl(database: Database) -> None:
    now = [100.0]
    cache, key = ApiKeyCache(database, lambda: now[0]), make_key(database, Scope.SEARCH)
    assert cache.key(key) is not None
    assert cache.keys_exist()
    with database.transaction() as session:
        revoke_key(session, "one")
    assert cache.is_cached(key)
    assert cache.key(key) is not None
    now[0] += auth.CACHE_TTL_S
    assert not cache.is_cached(key)
    assert cache.key(key) is None
    assert not cache.keys_exist()


def test_session_stores_the_key_in_an_httponly_cookie(opened: Open, database: Database) -> None:
    client, key = opened(), make_key(database, Scope.SEARCH)
    assert client.post("/session", json={"key": "lk_1_no"}).status_code == 401
    answer = client.post("/session", json={"key": f" {key} "})
    assert answer.status_code == 204
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert client.get("/stats").status_code == 200
    client.delete("/session")
    assert client.get("/stats").status_code == 401


@pytest.mark.parametrize("others", ['prefs={"a": "b"}', "flag", "path=/x", "a=1; lookalike=b"])
def test_key_is_found_among_other_cookies(opened: Open, database: Database, others: str) -> None:
    cookies = f"{others}; {auth.COOKIE}={make_key(database, Scope.SEARCH)}"
    assert opened().get("/stats", headers={"Cookie": cookies}).status_code == 200


def test_metrics_report_that_the_database_is_unavailable(
    opened: Open, database: Database, migrated_url: str, postgres_url: str
) -> None:
    client = opened()
    admin, writer = make_key(database, Scope.ADMIN), make_key(database, Scope.WRITE, name="writer")
    assert client.get("/metrics", headers=bearer(admin)).status_code == 200
    assert client.get("/metrics", headers=bearer(writer)).json()["code"] == "insufficient_scope"
    with database_unavailable(str(make_url(migrated_url).database), postgres_url):
        answers = [client.get("/metrics", headers=bearer(key)) for key in (admin, writer, "lk_1_no")]
        stats = client.get("/stats", headers=bearer(admin))
    assert [answer.status_code for answer in answers] == [200, 403, 503]
    assert "lookalike_database_up 0" in answers[0].text
    assert stats.status_code == 503


@pytest.mark.parametrize("path", ["/session", "/images/1"])
def test_large_body_without_images_returns_413(opened: Open, path: str) -> None:
    body = b'{"key": "' + b"x" * 1_200_000 + b'"}'
    answer = opened().request("POST" if path == "/session" else "PATCH", path, content=body)
    assert answer.status_code == 413


@pytest.mark.parametrize("auth", ["auto", "off"])
def test_changes_from_other_origins_return_403(opened: Open, auth: str) -> None:
    client = opened(auth=auth)
    statuses = {
        origin: client.post("/index", files={"images": PICTURE}, headers={"Origin": origin}).status_code
        for origin in ("https://evil.test", "null", "http://127.0.0.1:9", LOCAL)
    }
    assert statuses == {"https://evil.test": 403, "null": 403, "http://127.0.0.1:9": 403, LOCAL: 201}
    own = {"Host": "Search.Example:443", "Origin": "https://search.example"}
    assert client.delete("/images/99", headers=own).status_code == (404 if auth == "off" else 403)
    assert client.delete("/images/1", headers={"Origin": "https://evil.test"}).status_code == 403
    assert client.delete("/images/1", headers={"Origin": "http://["}).json()["code"] == "origin_not_allowed"


def test_cors_headers_are_sent_only_to_configured_origins(opened: Open) -> None:
    shop = {"Origin": "https://shop.example"}
    assert "access-control-allow-origin" not in opened().get("/stats", headers=shop).headers
    client = opened(cors_origins=("https://shop.example",))
    answer = client.post("/search", files={"image": PICTURE}, headers=shop)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    preflight = {**shop, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Authorization"}
    assert client.options("/search", headers=preflight).status_code == 200
    assert "access-control-allow-credentials" not in answer.headers


def test_exceeded_rate_limit_returns_429_with_the_seconds_until_the_next_request(
    opened: Open, database: Database
) -> None:
    client = opened(rate_limit="3/minute")
    key, other = make_key(database, Scope.SEARCH), make_key(database, Scope.SEARCH, name="other")
    began = time.time()
    assert [client.get("/stats", headers=bearer(key)).status_code for _ in range(3)] == [200, 200, 200]
    time.sleep(1.5)
    refused = client.get("/stats", headers=bearer(key))
    retry, elapsed = int(refused.headers["retry-after"]), time.time() - began
    assert refused.status_code == 429
    assert 60 - elapsed < retry < 60, "the window less the time elapsed"
    assert refused.json()["detail"] == f"Rate limit exceeded (3/minute). Retry in {retry} s."
    assert client.get("/stats", headers=bearer(other)).status_code == 200


def test_request_after_retry_after_is_within_the_rate_limit(opened: Open, database: Database) -> None:
    client, key = opened(rate_limit="2 per 3 second"), make_key(database, Scope.SEARCH)
    while (answer := client.get("/stats", headers=bearer(key))).status_code == 200:
        pass
    assert answer.status_code == 429
    time.sleep(int(answer.headers["retry-after"]))
    assert client.get("/stats", headers=bearer(key)).status_code == 200


def test_readyz_does_not_count_against_the_rate_limit(opened: Open, database: Database) -> None:
    client, key = opened(rate_limit="1/hour"), make_key(database, Scope.SEARCH)
    assert [client.get("/readyz", headers=bearer(key)).status_code for _ in range(3)] == [200] * 3
    assert client.get("/stats", headers=bearer(key)).status_code == 200


def test_readyz_returns_the_number_of_images_only_to_callers_that_may_search(opened: Open, database: Database) -> None:
    client = opened()
    assert client.get("/readyz").json() == {"status": "ready", "images": 0}
    assert client.get("/readyz", headers={"Host": "shop.example"}).json() == {"status": "ready"}
    assert client.get("/readyz", headers={"Via": "1.1 proxy"}).json() == {"status": "ready"}
    searcher, writer = make_key(database, Scope.SEARCH), make_key(database, Scope.WRITE, name="writer")
    responses = [client.get("/readyz", headers=headers).json() for headers in ({}, bearer("lk_1_no"), bearer(writer))]
    assert responses == [{"status": "ready"}] * 3
    assert client.get("/readyz", headers=bearer(searcher)).json() == {"status": "ready", "images": 0}
    assert opened(auth="off").get("/readyz").json() == {"status": "ready", "images": 0}


def test_errors_hide_the_database_address_from_callers_without_a_key(
    opened: Open, database: Database, migrated_url: str, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, key = opened(), make_key(database, Scope.SEARCH)
    name = str(make_url(migrated_url).database)
    assert client.get("/readyz", headers=bearer(key)).json()["images"] == 0
    with database_unavailable(name, postgres_url):
        ready, informed = client.get("/readyz"), client.get("/readyz", headers=bearer(key))
        others = [
            client.get("/stats"),
            client.get("/stats", headers=bearer("lk_1_no")),
            client.post("/session", json={"key": "lk_1_no"}),
        ]
    assert {answer.status_code for answer in (ready, informed, *others)} == {503}
    assert name in informed.json()["detail"]
    for answer in (ready, *others):
        assert name not in answer.text
        assert int(answer.headers["retry-after"]) > 0
    assert ready.json()["detail"] == "The service is not ready. Its log has the reason."
    assert name in caplog.text


def test_without_keys_local_monitoring_reports_that_the_database_is_unavailable(
    opened: Open, migrated_url: str, postgres_url: str
) -> None:
    client = opened()
    assert client.get("/metrics").status_code == 200
    name = str(make_url(migrated_url).database)
    with database_unavailable(name, postgres_url):
        metrics, ready = client.get("/metrics"), client.get("/readyz")
        elsewhere = client.get("/metrics", headers={"Host": "shop.example"})
    assert (metrics.status_code, elsewhere.status_code) == (200, 403)
    assert "lookalike_database_up 0" in metrics.text
    assert name in ready.json()["detail"]
