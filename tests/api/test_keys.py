"""Managing API keys over the API, what a caller may do, and when keys were last used."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import datetime

import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from app.api.middleware import auth, key_use
from app.api.middleware.key_use import KeyUse
from app.catalogue import keys
from app.catalogue.database.sessions import Database
from app.catalogue.keys import Key, create_key, list_keys, record_use, verify_token
from app.common.scopes import Scope
from app.main import create_app
from app.settings import Settings
from tests.conftest import open_with_fake

LOCAL = "http://127.0.0.1:8000"
JSON = {"Content-Type": "application/json"}
NOTHING: dict[str, object] = {"key": None, "key_required": True, "scopes": []}


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Client of a service that requires keys and caches none."""
    monkeypatch.setattr(auth, "CACHE_TTL_S", 0.0)
    monkeypatch.setattr(key_use, "POLL_S", 0.02)
    app = create_app(settings.model_copy(update={"auth": "auto"}), open_with_fake)
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as opened:
        yield opened


@pytest.fixture
def admin(client: TestClient) -> dict[str, str]:
    """Headers with a key of the scope `admin`, the first key of the service."""
    return bearer(client.post("/keys", json={"name": "boss", "scopes": ["admin"]}).json()["key"])


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def stored(database: Database) -> dict[str, Key]:
    with database.read_session() as session:
        return {key.name: key for key in list_keys(session)}


def test_created_key_works_is_listed_without_its_secret_and_can_be_revoked(
    client: TestClient, admin: dict[str, str]
) -> None:
    answer = client.post(
        "/keys", json={"name": "Crème & <b>co</b>", "scopes": ["write", "search", "write"]}, headers=admin
    )
    created = answer.json()
    token = created.pop("key")
    assert answer.status_code == 201
    assert (created["name"], created["scopes"], created["last_used_at"]) == (
        "Crème & <b>co</b>",
        ["search", "write"],
        None,
    )
    assert client.get("/images", headers=bearer(token)).status_code == 200
    listed = client.get("/keys", headers=admin)
    assert [key["name"] for key in listed.json()["items"]] == ["Crème & <b>co</b>", "boss"]
    assert token.split("_", 2)[2] not in listed.text
    assert client.delete(f"/keys/{created['id']}", headers=admin).status_code == 204
    assert client.get("/images", headers=bearer(token)).status_code == 401
    gone = client.delete(f"/keys/{created['id']}", headers=admin)
    assert (gone.status_code, gone.json()["detail"]) == (404, f"There is no key {created['id']} in the catalogue.")


def test_key_without_a_scope_may_search(client: TestClient, admin: dict[str, str]) -> None:
    assert client.post("/keys", json={"name": "shop"}, headers=admin).json()["scopes"] == ["search"]


def test_keys_are_managed_with_the_scope_admin_only(client: TestClient, admin: dict[str, str]) -> None:
    body = {"name": "importer", "scopes": ["search", "write"]}
    writer = bearer(client.post("/keys", json=body, headers=admin).json()["key"])
    for answer in (
        client.get("/keys", headers=writer),
        client.post("/keys", json={"name": "more", "scopes": ["admin"]}, headers=writer),
        client.delete("/keys/1", headers=writer),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
        assert answer.json()["detail"] == 'The key "importer" lacks the scope "admin".'


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "boss"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "a\x00b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"name": " spaced "}, "name"),
        ({"name": 7}, "name"),
        ({"scopes": ["search"]}, "name"),
        ({"name": "shop", "scopes": []}, "scopes"),
        ({"name": "shop", "scopes": ["root"]}, "scopes.0"),
        ({"name": "shop", "scopes": "admin"}, "scopes"),
        ({"name": "shop", "scope": "admin"}, "scope"),
    ],
)
def test_invalid_keys_are_rejected_by_field(
    client: TestClient, admin: dict[str, str], database: Database, body: dict[str, object], field: str
) -> None:
    answer = client.post("/keys", content=json.dumps(body), headers=admin | JSON)
    assert answer.status_code == 422
    assert field in [error["field"] for error in answer.json()["errors"]]
    assert set(stored(database)) == {"boss"}


def test_session_tells_what_the_caller_may_do(client: TestClient, database: Database) -> None:
    everything = {"key": None, "key_required": False, "scopes": ["search", "write", "admin"]}
    assert client.get("/session").json() == everything
    assert client.get("/session", headers={"Host": "shop.example"}).json() == everything | {"scopes": []}
    with database.transaction() as session:
        boss, shop = create_key(session, "boss", [Scope.ADMIN]), create_key(session, "shop", [Scope.SEARCH])
    assert client.get("/session").json() == NOTHING
    assert client.get("/session", headers=bearer("lk_1_wrong")).json() == NOTHING
    assert client.get("/session", headers=bearer(boss)).json() == {
        "key": "boss", "key_required": True, "scopes": ["search", "write", "admin"],
    }  # fmt: skip
    client.post("/session", json={"key": shop})
    assert client.get("/session").json() == {"key": "shop", "key_required": True, "scopes": ["search"]}


def test_session_without_authentication_allows_everything(settings: Settings) -> None:
    with TestClient(create_app(settings, open_with_fake), base_url="http://shop.example") as client:
        assert client.get("/session").json()["scopes"] == list(Scope)


def test_last_use_is_stored_in_the_background(client: TestClient, admin: dict[str, str], database: Database) -> None:
    began = time.time()
    assert stored(database)["boss"].last_used_at is None
    client.get("/stats", headers=admin)
    used = None
    while used is None:
        assert time.time() < began + 30
        used = stored(database)["boss"].last_used_at
    assert began - 1 <= used.timestamp() <= time.time() + 1
    assert client.get("/keys", headers=admin).json()["items"][0]["last_used_at"] is not None


def test_last_use_is_written_once_a_minute_and_at_the_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.transaction() as session:
        token = create_key(session, "shop", [Scope.SEARCH])
        key = verify_token(session, token)
    assert key is not None
    writes: list[datetime] = []

    def recorded(session: Session, used: Mapping[int, datetime]) -> None:
        writes.append(used[key.id])
        record_use(session, used)

    monkeypatch.setattr(key_use, "POLL_S", 0.01)
    monkeypatch.setattr(keys, "record_use", recorded)
    with KeyUse(database) as use:
        deadline = time.monotonic() + 30
        while not writes:
            use.note(key.id)
            assert time.monotonic() < deadline
        for _ in range(20):
            use.note(key.id)
            time.sleep(0.01)
        assert len(writes) == 1
        first = stored(database)["shop"].last_used_at
    assert len(writes) == 2
    last = stored(database)["shop"].last_used_at
    assert first is not None
    assert last is not None
    assert last > first


def test_use_of_a_revoked_key_or_without_a_database_fails_nothing(settings: Settings, database: Database) -> None:
    with (
        closing(Database(str(settings.database_url).replace("one_migrated", "none"))) as missing,
        KeyUse(missing) as use,
    ):
        use.note(1)
    with KeyUse(database) as use:
        use.note(12345)
    assert stored(database) == {}
