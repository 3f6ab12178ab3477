"""For whoever runs the service: numbers, health, metrics, the documentation and the page."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.metadata import version

import psycopg
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import make_url

from app.main import PAGE_POLICY
from tests.api.test_index import index, picture
from tests.catalogue.postgres import connect
from tests.fakes import BITS, FAKE_NETWORK, FEATURE_DIM


@pytest.fixture
def database_gone(client: TestClient, migrated_url: str, postgres_url: str) -> Iterator[psycopg.Connection]:
    """The client's database takes no connections and has ended those that it had."""
    name = make_url(migrated_url).database
    with connect(postgres_url) as connection:
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        yield connection
        connection.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_stats_count_the_catalogue(client: TestClient) -> None:
    empty = client.get("/stats").json()
    assert (empty["images"], empty["labels"], empty["bytes"]["originals"]) == (0, 0, 0)
    index(client, picture(1), picture(2), picture(3), metadata=[{"label": "boots"}, {"label": "boots"}, {}])
    client.post("/search", files={"image": picture(1)})
    stats = client.get("/stats").json()
    assert (stats["images"], stats["labels"]) == (3, 1)
    assert stats["seq"] == stats["applied_seq"] == empty["seq"] + 1
    assert stats["bytes"]["originals"] == sum(len(picture(number)) for number in (1, 2, 3))
    assert stats["bytes"]["vectors"] > 0
    assert stats["bytes"]["codes"] > 0
    assert stats["version"] == version("lookalike")
    model = stats["model"]
    assert (model["name"], model["fingerprint"]) == (FAKE_NETWORK.name, FAKE_NETWORK.fingerprint)
    assert (model["bits"], model["feature_dim"]) == (BITS, FEATURE_DIM)


def test_ready_means_that_the_index_is_up_to_date(client: TestClient) -> None:
    assert client.get("/readyz").json() == {"status": "ready", "images": 0}
    index(client, picture(1), picture(2))
    assert client.get("/readyz").json() == {"status": "ready", "images": 2}


def test_without_its_database_it_is_alive_but_not_ready(client: TestClient, database_gone: psycopg.Connection) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    answers = [client.get(path) for path in ("/readyz", "/stats", "/images", "/images/1", "/images/1/similar")]
    answers.append(client.delete("/images/1"))
    answers.append(client.patch("/images/1", json={"label": "boots"}))
    answers.append(client.post("/search", files={"image": picture(1)}))
    answers.append(client.post("/index", files={"images": picture(1)}))
    for answer in answers:
        assert answer.status_code == 503, answer.url
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) > 0
        assert "database" in answer.json()["detail"]


def test_it_is_ready_again_when_the_database_is(
    client: TestClient, migrated_url: str, database_gone: psycopg.Connection
) -> None:
    assert client.get("/readyz").status_code == 503
    name = make_url(migrated_url).database
    database_gone.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert client.get("/readyz").status_code == 200
    assert index(client, picture(1))[0]["status"] == "created"


class Assets(HTMLParser):
    """Collects what a page loads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe"):
            self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_its_pages_load_nothing_from_elsewhere(client: TestClient) -> None:
    for path in ("/docs", "/redoc", "/"):
        html = client.get(path).text
        assets = Assets(html).found
        assert assets
        assert not re.search(r"""["'(](https?:)?//""", html)
        for address in assets:
            answer = client.get(address)
            assert answer.status_code == 200, address
            assert answer.content


def test_the_page_may_run_only_what_comes_with_it(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == PAGE_POLICY
    assert "default-src 'self'" in PAGE_POLICY
    assert "unsafe" not in PAGE_POLICY


def test_every_answer_forbids_guessing_types(client: TestClient) -> None:
    for path in ("/", "/healthz", "/images/1", "/web/none", "/nowhere"):
        headers = client.get(path).headers
        assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
