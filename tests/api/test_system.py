"""Statistics, health checks, metrics, documentation pages and the web page."""

import math
import os
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import version

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from app.api.pages import PAGE_POLICY
from models.checkpoint.successors import SUCCESSORS, Successor
from tests.api.test_index import add_images, random_image
from tests.catalogue.postgres import connect
from tests.fakes import BITS, FAKE_NETWORK, FEATURE_DIM


@pytest.fixture
def database_gone(client: TestClient, migrated_url: str, postgres_url: str) -> Iterator[psycopg.Connection]:
    """Make the client's database reject connections, and terminate the open ones."""
    name = make_url(migrated_url).database
    with connect(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield connection
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_stats_count_the_catalogue(client: TestClient) -> None:
    empty = client.get("/stats").json()
    assert (empty["images"], empty["labels"], empty["bytes"]["originals"]) == (0, 0, 0)
    add_images(
        client, random_image(1), random_image(2), random_image(3), metadata=[{"label": "boots"}, {"label": "boots"}, {}]
    )
    client.post("/search", files={"image": random_image(1)})
    stats = client.get("/stats").json()
    assert (stats["images"], stats["labels"]) == (3, 1)
    assert stats["seq"] == stats["applied_seq"] == empty["seq"] + 1
    assert stats["bytes"]["originals"] == sum(len(random_image(number)) for number in (1, 2, 3))
    assert stats["bytes"]["vectors"] > 0
    assert stats["bytes"]["codes"] > 0
    assert stats["version"] == version("lookalike")
    model = stats["model"]
    assert (model["name"], model["fingerprint"]) == (FAKE_NETWORK.name, FAKE_NETWORK.fingerprint)
    assert (model["bits"], model["feature_dim"]) == (BITS, FEATURE_DIM)


def test_stats_offer_a_better_model(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    assert client.get("/stats").json()["better_model"] is None
    newer = Successor("general-small", "It is better.", 1000.0)
    monkeypatch.setitem(SUCCESSORS, FAKE_NETWORK.fingerprint, newer)
    add_images(client, *(random_image(number) for number in range(8)))
    assert client.get("/stats").json()["better_model"] == {
        "name": "general-small",
        "gain": "It is better.",
        "command": "lookalike reindex general-small",
        "estimated_seconds": math.ceil(8 / (os.cpu_count() or 1)),
    }


def test_readyz_brings_the_index_up_to_date(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "images": 0}
    add_images(client, random_image(1), random_image(2))
    assert client.get("/readyz").json() == {"status": "ready", "images": 2}


def test_without_the_database_healthz_returns_200_and_the_rest_503(
    client: TestClient, database_gone: psycopg.Connection
) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    answers = [client.get(path) for path in ("/readyz", "/stats", "/images", "/images/1", "/images/1/similar")]
    answers.append(client.delete("/images/1"))
    answers.append(client.patch("/images/1", json={"label": "boots"}))
    answers.append(client.post("/search", files={"image": random_image(1)}))
    answers.append(client.post("/index", files={"images": random_image(1)}))
    for answer in answers:
        assert answer.status_code == 503, answer.url
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert "database" in answer.json()["detail"]


def test_readyz_recovers_with_the_database(
    client: TestClient, migrated_url: str, database_gone: psycopg.Connection
) -> None:
    assert client.get("/readyz").status_code == 503
    name = make_url(migrated_url).database
    database_gone.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert client.get("/readyz").status_code == 200
    assert add_images(client, random_image(1))[0]["status"] == "created"


class Assets(HTMLParser):
    """Collects the URLs that a page loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_pages_load_nothing_from_other_hosts(client: TestClient) -> None:
    for path in ("/docs", "/redoc", "/operations", "/training", "/"):
        html = client.get(path).text
        assets = Assets(html).found
        assert assets
        assert not re.search(r"""["'(](https?:)?//""", html)
        for address in assets:
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert answer.content


def test_page_has_a_strict_content_security_policy(client: TestClient) -> None:
    for path in ("/", "/operations", "/training"):
        answer = client.get(path)
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["content-security-policy"] == PAGE_POLICY
    assert "unsafe-inline" in client.get("/docs").headers["content-security-policy"].partition("style-src")[2]
    assert "default-src 'self'" in PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY


def test_every_response_has_nosniff_and_no_referrer(client: TestClient) -> None:
    for path in ("/", "/healthz", "/images/1", "/web/none", "/nowhere"):
        headers = client.get(path).headers
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
