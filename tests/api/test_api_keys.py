"""Who is let in: keys and their scopes, other sites' pages, and how often a key may ask."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from app.api.middleware import auth as access
from app.api.middleware.auth import ApiKeyCache
from app.catalogue.database.sessions import Database
from app.catalogue.keys import Scope, create_key, list_keys, revoke_key
from app.errors import InvalidInputError, NotFoundError
from app.main import create_app
from app.settings import Settings
from tests.catalogue.postgres import connect
from tests.conftest import open_with_fake
from tests.ingest.archives import zipped
from tests.pictures import corners, encoded

LOCAL = "http://127.0.0.1:8000"
PICTURE = encoded(corners(60, 40), "PNG")
ARCHIVE = zipped({"one.png": PICTURE})

Open = Callable[..., TestClient]


@pytest.fixture
def opened(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens clients of a service that looks at keys, and believes nothing for longer than a request."""
    monkeypatch.setattr(access, "CACHE_TTL_S", 0.0)
    with ExitStack() as stack:

        def make(base_url: str = LOCAL, **changes: object) -> TestClient:
            app = create_app(settings.model_copy(update={"auth": "auto", **changes}), open_with_fake)
            return stack.enter_context(TestClient(app, base_url=base_url, raise_server_exceptions=False))

        yield make


def make_key(database: Database, *scopes: Scope, name: str = "one") -> str:
    with database.begin() as session:
        return create_key(session, name, scopes)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def database_away(name: str, postgres_url: str) -> Iterator[None]:
    """Takes a database away for the length of the block."""
    with connect(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_without_keys_this_machine_may_do_everything(opened: Open) -> None:
    client = opened()
    assert client.get("/stats").status_code == 200
    assert client.post("/index", files={"images": PICTURE}).status_code == 201


@pytest.mark.parametrize("host", ["example.com", "192.168.1.7:8000", "127.0.0.1.evil.test", "localhost.evil.test:80"])
def test_without_keys_no_other_name_is_answered(opened: Open, host: str) -> None:
    answer = opened().get("/stats", headers={"Host": host})
    assert (answer.status_code, answer.json()["code"]) == (403, "local_only")
    assert opened(auth="off").get("/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("address", ["192.168.1.7", "10.0.0.1", "nowhere"])
def test_without_keys_no_other_address_is_answered_whatever_name_is_given(
    opened: Open, database: Database, address: str
) -> None:
    client, local = opened(f"http://{address}:8000"), {"Host": "localhost:8000"}
    assert client.get("/stats", headers=local).status_code == 403
    key = make_key(database, Scope.SEARCH)
    assert client.get("/stats", headers=local | bearer(key)).status_code == 200
    with database.begin() as session:
        revoke_key(session, "one")
    answer = client.get("/stats", headers=local)
    assert answer.status_code == 403
    assert address in answer.json()["detail"]


OWN_HOSTS = ("localhost:8000", "LOCALHOST", "127.0.0.1:8000", "[::1]:8000", "search.example", "Search.EXAMPLE.:443")
OTHER_HOSTS = ("evil.test", "evil.test:8000", "", "localhost@evil.test", "search.example.evil.test")


@pytest.mark.parametrize("auth", ["auto", "off"])
def test_where_names_are_given_no_other_is_answered(opened: Open, auth: str) -> None:
    client = opened(auth=auth, allowed_hosts=("localhost", "search.example"))
    refused = [
        host
        for host in (*OWN_HOSTS, *OTHER_HOSTS)
        if client.get("/stats", headers={"Host": host}).json().get("code") == "host_not_allowed"
    ]
    assert refused == list(OTHER_HOSTS)


@pytest.mark.parametrize("host", ["LOCALHOST", "localhost.", "LocalHost:8000", "[::1]", "[0:0::1]:8000", "127.0.0.1"])
def test_without_keys_this_machine_is_answered_by_each_of_its_names(opened: Open, host: str) -> None:
    assert opened().get("/stats", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("options", [{}, {"auth": "off", "allowed_hosts": ("localhost",)}])
def test_a_request_that_names_two_hosts_is_refused(opened: Open, options: dict[str, object]) -> None:
    client = opened(**options)
    for hosts in (("localhost", "evil.test"), ("evil.test", "localhost"), ("localhost", "localhost")):
        answer = client.get("/stats", headers=[("Host", host) for host in hosts])
        assert answer.status_code == 403


def test_from_the_first_key_on_everybody_shows_one(opened: Open, database: Database) -> None:
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
def test_a_wrong_key_is_none(opened: Open, database: Database, wrong: str) -> None:
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
def test_a_key_is_for_what_it_says(opened: Open, database: Database, scope: Scope, allowed: set[str]) -> None:
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


def test_a_revoked_key_lets_nobody_in(opened: Open, database: Database) -> None:
    client, key = opened(), make_key(database, Scope.SEARCH)
    make_key(database, Scope.SEARCH, name="other")
    assert client.get("/stats", headers=bearer(key)).status_code == 200
    with database.begin() as session:
        revoke_key(session, "one")
    assert client.get("/stats", headers=bearer(key)).status_code == 401
    with database.begin() as session, pytest.raises(NotFoundError):
        revoke_key(session, "one")


def test_secrets_are_not_stored_and_names_are_unique(database: Database) -> None:
    key = make_key(database, Scope.SEARCH, Scope.WRITE)
    assert re.fullmatch(r"lk_\d+_[\w-]{43}", key)
    with database.asking() as session:
        (listed,) = list_keys(session)
        stored = session.connection().exec_driver_sql("SELECT api_keys::text FROM api_keys").scalar_one()
    assert (listed.name, set(listed.scopes)) == ("one", {Scope.SEARCH, Scope.WRITE})
    assert key.split("_", 2)[2] not in stored
    with pytest.raises(InvalidInputError, match="already"):
        make_key(database, Scope.SEARCH)


def test_what_was_heard_is_believed_for_a_moment(database: Database) -> None:
    now = [100.0]
    keeper, key = ApiKeyCache(database, lambda: now[0]), make_key(database, Scope.SEARCH)
    assert keeper.key(key) is not None
    assert keeper.keys_exist()
    with database.begin() as session:
        revoke_key(session, "one")
    assert keeper.knows(key)
    assert keeper.key(key) is not None
    now[0] += access.CACHE_TTL_S
    assert not keeper.knows(key)
    assert keeper.key(key) is None
    assert not keeper.keys_exist()


def test_the_page_keeps_a_key_in_a_cookie_that_scripts_cannot_read(opened: Open, database: Database) -> None:
    client, key = opened(), make_key(database, Scope.SEARCH)
    assert client.post("/session", json={"key": "lk_1_no"}).status_code == 401
    answer = client.post("/session", json={"key": f" {key} "})
    assert answer.status_code == 204
    assert {"httponly", "samesite=strict"} <= {part.strip().lower() for part in answer.headers["set-cookie"].split(";")}
    assert client.get("/stats").status_code == 200
    client.delete("/session")
    assert client.get("/stats").status_code == 401


@pytest.mark.parametrize("others", ['prefs={"a": "b"}', "flag", "path=/x", "a=1; lookalike=b"])
def test_a_key_is_found_among_other_programs_cookies(opened: Open, database: Database, others: str) -> None:
    cookies = f"{others}; {access.COOKIE}={make_key(database, Scope.SEARCH)}"
    assert opened().get("/stats", headers={"Cookie": cookies}).status_code == 200


def test_whoever_watches_sees_that_the_database_is_away(
    opened: Open, database: Database, migrated_url: str, postgres_url: str
) -> None:
    client = opened()
    admin, writer = make_key(database, Scope.ADMIN), make_key(database, Scope.WRITE, name="writer")
    assert client.get("/metrics", headers=bearer(admin)).status_code == 200
    assert client.get("/metrics", headers=bearer(writer)).json()["code"] == "insufficient_scope"
    with database_away(str(make_url(migrated_url).database), postgres_url):
        answers = [client.get("/metrics", headers=bearer(key)) for key in (admin, writer, "lk_1_no")]
        stats = client.get("/stats", headers=bearer(admin))
    assert [answer.status_code for answer in answers] == [200, 403, 503]
    assert "lookalike_database_up 0" in answers[0].text
    assert stats.status_code == 503


@pytest.mark.parametrize("path", ["/session", "/images/1"])
def test_what_brings_no_pictures_may_not_be_large(opened: Open, path: str) -> None:
    body = b'{"key": "' + b"x" * 1_200_000 + b'"}'
    answer = opened().request("POST" if path == "/session" else "PATCH", path, content=body)
    assert answer.status_code == 413


@pytest.mark.parametrize("auth", ["auto", "off"])
def test_another_site_s_page_cannot_write_here(opened: Open, auth: str) -> None:
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


def test_other_sites_may_ask_only_where_they_are_named(opened: Open) -> None:
    shop = {"Origin": "https://shop.example"}
    assert "access-control-allow-origin" not in opened().get("/stats", headers=shop).headers
    client = opened(cors_origins=("https://shop.example",))
    answer = client.post("/search", files={"image": PICTURE}, headers=shop)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "https://shop.example")
    asked = {**shop, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "Authorization"}
    assert client.options("/search", headers=asked).status_code == 200
    assert "access-control-allow-credentials" not in answer.headers


def test_a_key_beyond_its_rate_is_told_when_the_next_request_is_within_it(opened: Open, database: Database) -> None:
    client = opened(rate_limit="3/minute")
    key, other = make_key(database, Scope.SEARCH), make_key(database, Scope.SEARCH, name="other")
    began = time.time()
    assert [client.get("/stats", headers=bearer(key)).status_code for _ in range(3)] == [200, 200, 200]
    time.sleep(1.5)
    refused = client.get("/stats", headers=bearer(key))
    retry, elapsed = int(refused.headers["retry-after"]), time.time() - began
    assert refused.status_code == 429
    assert 60 - elapsed < retry < 60, "less than the whole window, by what has passed of it"
    assert refused.json()["detail"] == f"Rate limit exceeded (3/minute). Retry in {retry} s."
    assert client.get("/stats", headers=bearer(other)).status_code == 200


def test_a_request_after_retry_after_is_within_the_rate(opened: Open, database: Database) -> None:
    client, key = opened(rate_limit="2 per 3 second"), make_key(database, Scope.SEARCH)
    while (answer := client.get("/stats", headers=bearer(key))).status_code == 200:
        pass
    assert answer.status_code == 429
    time.sleep(int(answer.headers["retry-after"]))
    assert client.get("/stats", headers=bearer(key)).status_code == 200


def test_looking_whether_it_is_ready_does_not_count_against_the_rate(opened: Open, database: Database) -> None:
    client, key = opened(rate_limit="1/hour"), make_key(database, Scope.SEARCH)
    assert [client.get("/readyz", headers=bearer(key)).status_code for _ in range(3)] == [200] * 3
    assert client.get("/stats", headers=bearer(key)).status_code == 200


def test_only_callers_that_may_search_see_the_number_of_pictures(opened: Open, database: Database) -> None:
    client = opened()
    assert client.get("/readyz").json() == {"status": "ready", "images": 0}
    assert client.get("/readyz", headers={"Host": "shop.example"}).json() == {"status": "ready"}
    assert client.get("/readyz", headers={"Via": "1.1 proxy"}).json() == {"status": "ready"}
    searcher, writer = make_key(database, Scope.SEARCH), make_key(database, Scope.WRITE, name="writer")
    shown = [client.get("/readyz", headers=headers).json() for headers in ({}, bearer("lk_1_no"), bearer(writer))]
    assert shown == [{"status": "ready"}] * 3
    assert client.get("/readyz", headers=bearer(searcher)).json() == {"status": "ready", "images": 0}
    assert opened(auth="off").get("/readyz").json() == {"status": "ready", "images": 0}


def test_strangers_are_not_told_where_the_database_is(
    opened: Open, database: Database, migrated_url: str, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    client, key = opened(), make_key(database, Scope.SEARCH)
    name = str(make_url(migrated_url).database)
    assert client.get("/readyz", headers=bearer(key)).json()["images"] == 0
    with database_away(name, postgres_url):
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
    assert ready.json()["detail"] == "The service is not ready; its log says why."
    assert name in caplog.text


def test_monitoring_on_this_machine_sees_that_the_database_is_away_while_there_are_no_keys(
    opened: Open, migrated_url: str, postgres_url: str
) -> None:
    client = opened()
    assert client.get("/metrics").status_code == 200
    name = str(make_url(migrated_url).database)
    with database_away(name, postgres_url):
        metrics, ready = client.get("/metrics"), client.get("/readyz")
        elsewhere = client.get("/metrics", headers={"Host": "shop.example"})
    assert (metrics.status_code, elsewhere.status_code) == (200, 403)
    assert "lookalike_database_up 0" in metrics.text
    assert name in ready.json()["detail"]
