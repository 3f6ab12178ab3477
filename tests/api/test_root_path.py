"""The service below a path of a reverse proxy: LOOKALIKE_ROOT_PATH and X-Forwarded-Prefix."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from lookalike_client import Lookalike, NewImage
from pydantic import ValidationError
from typer.testing import CliRunner

from app.api.paths import app_path
from app.catalogue.database.sessions import Database
from app.catalogue.keys import create_key
from app.cli.main import app as commands
from app.common.root_path import OWN_SEGMENTS, parse_root_path
from app.common.scopes import Scope
from app.main import create_app
from app.settings import Settings
from tests.api.prefix_proxy import prefix_proxy
from tests.api.server import serve
from tests.api.test_index import add_images, random_image
from tests.conftest import open_with_fake
from tests.ingest.archives import zipped

PREFIX = "/tools/lookalike"


@dataclass(frozen=True)
class Setup:
    """How a proxy and the service are configured."""

    root_path: str
    trusted: tuple[str, ...]
    strips: bool
    headers: bool
    host: bool = True


SETUPS = {
    "the proxy strips, root path set": Setup(PREFIX, (), strips=True, headers=False),
    "the proxy does not strip, root path set": Setup(PREFIX, (), strips=False, headers=False),
    "the proxy strips and sends the prefix": Setup("", ("127.0.0.0/8",), strips=True, headers=True),
    "the proxy does not strip and sends the prefix": Setup("", ("127.0.0.1",), strips=False, headers=True),
    "the proxy sends the prefix and its own host": Setup("/other", ("*",), strips=True, headers=True, host=False),
}


@pytest.fixture(params=SETUPS)
def below(request: pytest.FixtureRequest, settings: Settings) -> Iterator[str]:
    """The address of a service below a path, for each setup."""
    setup = SETUPS[request.param]
    changes = {"root_path": setup.root_path, "trusted_proxies": setup.trusted}
    with (
        serve(settings.model_copy(update=changes)) as server,
        prefix_proxy(server.url, PREFIX, strips=setup.strips, headers=setup.headers, host=setup.host) as address,
    ):
        yield address


@pytest.fixture
def http() -> Iterator[httpx2.Client]:
    with httpx2.Client(timeout=30) as client:
        yield client


def urls_in(value: Any) -> Iterator[str]:
    """Yield every URL of a JSON document."""
    if isinstance(value, dict):
        yield from (inner for name, inner in value.items() if name.endswith("_url"))
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from urls_in(inner)


def test_every_url_of_a_response_works_through_the_proxy(below: str, http: httpx2.Client) -> None:
    files = [("images", ("a.png", random_image(1))), ("images", ("b.png", random_image(1)))]
    added = http.post(f"{below}/index", files=files, data={"metadata": '[{"key": "a"}, {"key": "b"}]'})
    assert added.status_code == 201, added.text
    answers = {
        "list": http.get(f"{below}/images"),
        "image": http.get(f"{below}/images/1"),
        "patch": http.patch(f"{below}/images/1", json={"label": "boots"}),
        "similar": http.get(f"{below}/images/1/similar"),
        "search": http.post(f"{below}/search", files={"image": random_image(1)}),
        "batch": http.post(f"{below}/search/batch", files={"images": random_image(1)}),
        "duplicates": http.get(f"{below}/images/1/duplicates?max_distance=100"),
        "all duplicates": http.get(f"{below}/duplicates?max_distance=100"),
    }
    for name, answer in answers.items():
        assert answer.status_code == 200, (name, answer.text)
        urls = list(urls_in(answer.json()))
        assert len(urls) >= 2, name
        for url in urls:
            assert url.startswith(f"{PREFIX}/images/"), name
            assert http.get(urljoin(below, url)).headers["content-type"].startswith("image/"), name


def test_job_location_and_events_work_through_the_proxy(below: str, http: httpx2.Client) -> None:
    answer = http.post(f"{below}/jobs", content=zipped({"a.png": random_image(1)}))
    assert answer.headers["location"] == f"{PREFIX}/jobs/1"
    job = urljoin(below, answer.headers["location"])
    assert '"state":"done"' in http.get(f"{job}/events").text
    assert http.get(job).json()["created"] == 1


def test_page_and_its_files_are_loaded_through_the_proxy(below: str, http: httpx2.Client) -> None:
    for address in (below, f"{below}/", f"{below}/?id=1"):
        page = http.get(address, follow_redirects=True)
        assert page.status_code == 200
        links = re.findall(r'(?:href|src)="([^"]+)"', page.text)
        assert len(links) >= 8
        assert all(link.startswith(f"{PREFIX}/") for link in links)
        for link in links:
            assert http.get(urljoin(below, link)).status_code == 200, link


def test_docs_are_loaded_through_the_proxy(below: str, http: httpx2.Client) -> None:
    for name in ("docs", "redoc", "operations"):
        page = http.get(f"{below}/{name}").text
        links = re.findall(r'(?:href|src|spec-url)="([^"]+)"', page)
        assert name == "operations" or any(link.endswith("/openapi.json") for link in links)
        for link in links:
            if not link.startswith("data:"):
                assert urlsplit(link).path.startswith(f"{PREFIX}/"), link
                assert http.get(urljoin(below, link)).status_code == 200, link
    # Swagger UI's requests, and those of generated clients, begin with this.
    assert http.get(f"{below}/openapi.json").json()["servers"] == [{"url": PREFIX}]


def test_redirect_stays_below_the_path(below: str, http: httpx2.Client) -> None:
    answer = http.get(f"{below}/images/?limit=3")
    assert (answer.status_code, answer.headers["location"]) == (307, f"{PREFIX}/images?limit=3")
    assert http.get(f"{below}/docs/", follow_redirects=True).status_code == 200


def test_python_client_works_through_the_proxy(below: str) -> None:
    for address in (below, f"{below}/"):
        with Lookalike(address) as catalogue:
            (added,) = catalogue.add([NewImage(random_image(3), key="three")])
            assert catalogue.search(random_image(3)).matches[0].key == "three"
            assert [image.key for image in catalogue.list()] == ["three"]
            assert catalogue.original(added.id or 0) == random_image(3)


def test_command_line_fills_a_service_through_the_proxy(below: str, tmp_path: Path, http: httpx2.Client) -> None:
    folder = tmp_path / "boots"
    folder.mkdir()
    (folder / "a.png").write_bytes(random_image(4))
    words = ["index", str(folder), "--url", below]
    result = CliRunner().invoke(commands, words, env={"LOOKALIKE_DATA_DIR": str(tmp_path / "data")})
    assert result.exit_code == 0, result.output
    assert [item["key"] for item in http.get(f"{below}/images").json()["items"]] == ["a.png"]


def test_service_is_reached_directly_too(settings: Settings) -> None:
    configured = settings.model_copy(update={"root_path": PREFIX})
    with TestClient(create_app(configured, open_with_fake)) as client:
        add_images(client, random_image(1))
        for path in ("/images/1", f"{PREFIX}/images/1"):
            assert client.get(path).json()["image_url"] == f"{PREFIX}/images/1/original"
        assert client.get("/healthz").status_code == 200
        assert client.get("/web/app.js").status_code == 200
        assert client.get(PREFIX, follow_redirects=False).headers["location"] == f"{PREFIX}/"
        assert client.get(f"{PREFIX}x/images/1").status_code == 404


def test_prefix_of_untrusted_clients_is_ignored(settings: Settings) -> None:
    with serve(settings) as server:  # no trusted proxies
        answer = httpx2.get(f"{server.url}/", headers={"X-Forwarded-Prefix": "/evil"})
        assert "/evil" not in answer.text
    elsewhere = settings.model_copy(update={"trusted_proxies": ("192.0.2.0/24",)})
    with serve(elsewhere) as server:
        answer = httpx2.get(f"{server.url}/", headers={"X-Forwarded-Prefix": "/evil"})
        assert "/evil" not in answer.text


@pytest.mark.parametrize("prefix", ["//evil.example", "evil", "/a b", '/"onload=', "/../x", "/images", "/a/./b"])
def test_invalid_prefix_of_a_trusted_proxy_returns_400(settings: Settings, prefix: str) -> None:
    app = create_app(settings.model_copy(update={"trusted_proxies": ("*",)}), open_with_fake)
    with TestClient(app) as client:
        answer = client.get("/", headers={"X-Forwarded-Prefix": prefix})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert "X-Forwarded-Prefix" in answer.json()["detail"]
        assert client.get("/", headers={"X-Forwarded-Prefix": "/"}).status_code == 200


def test_prefixes_of_several_proxies_are_joined(settings: Settings) -> None:
    app = create_app(settings.model_copy(update={"trusted_proxies": ("*",)}), open_with_fake)
    with TestClient(app) as client:
        add_images(client, random_image(1))
        for sent in ([("X-Forwarded-Prefix", "/a, /b/")], [("X-Forwarded-Prefix", "/a"), ("X-Forwarded-Prefix", "/b")]):
            answer = client.get("/images/1", headers=sent)
            assert answer.json()["image_url"] == "/a/b/images/1/original"


@pytest.mark.parametrize(("trusted", "address"), [((), "192.0.2.7"), (("192.0.2.0/24",), "127.0.0.1")])
def test_client_address_is_read_only_from_trusted_proxies(
    settings: Settings, caplog: pytest.LogCaptureFixture, trusted: tuple[str, ...], address: str
) -> None:
    with serve(settings.model_copy(update={"trusted_proxies": trusted})) as server, caplog.at_level("INFO"):
        httpx2.get(f"{server.url}/images", headers={"X-Forwarded-For": "192.0.2.7"})
    lines = [record.getMessage() for record in caplog.records if record.name == "app.api.middleware.request_log"]
    assert [line.split(":")[0] for line in lines] == [address]


def test_keys_and_scopes_are_checked_below_the_path(settings: Settings, database: Database) -> None:
    with database.transaction() as session:
        key = create_key(session, "one", [Scope.SEARCH])
    guarded = settings.model_copy(update={"auth": "auto", "root_path": PREFIX})
    with serve(guarded) as server, prefix_proxy(server.url, PREFIX, strips=False, headers=False) as below:
        for path in ("", "/", "/docs", "/web/app.js", "/healthz", "/readyz", "/openapi.json"):
            assert httpx2.get(below + path, follow_redirects=True).status_code == 200, path
        for path in ("/images", "/stats", "/metrics", "/search"):
            assert httpx2.get(below + path).status_code == 401, path
        header = {"Authorization": f"Bearer {key}"}
        assert httpx2.get(f"{below}/images", headers=header).status_code == 200
        assert httpx2.get(f"{below}/metrics", headers=header).status_code == 403
        assert httpx2.post(f"{below}/search", headers=header, files={"image": random_image(1)}).status_code == 200
        assert httpx2.post(f"{below}/index", headers=header, files={"images": random_image(1)}).status_code == 403
        cookie = httpx2.post(f"{below}/session", json={"key": key}).headers["set-cookie"]
        assert f"Path={PREFIX};" in cookie
        assert f"Path={PREFIX};" in httpx2.delete(f"{below}/session").headers["set-cookie"]


def test_requests_below_the_path_have_their_own_limits_and_metrics(settings: Settings) -> None:
    configured = settings.model_copy(update={"root_path": PREFIX, "max_form_field_bytes": 2000})
    with TestClient(create_app(configured, open_with_fake)) as client:
        large = io.BytesIO(random_image(1) + bytes(100_000))
        assert client.post(f"{PREFIX}/index", files={"images": large}).status_code == 201
        assert client.patch(f"{PREFIX}/images/1", content=bytes(3000)).status_code == 413
        client.get(f"{PREFIX}/web/app.js")
        metrics = client.get(f"{PREFIX}/metrics").text
        assert 'route="/index"' in metrics
        assert 'route="/web"' in metrics
        assert PREFIX not in metrics


def test_own_segments_are_those_of_the_applications_paths(client: TestClient) -> None:
    app: Any = client.app
    routes = [getattr(route, "path", None) or "" for route in app.routes] + list(app.openapi()["paths"])
    mounts = {"/web", "/static-offline-docs"}
    assert {path.split("/")[1] for path in [*routes, *mounts] if path.strip("/")} == OWN_SEGMENTS


def test_invalid_settings_are_rejected_with_a_reason() -> None:
    for path in ("lookalike", "/a b", "//host", "/docs/x", "/..", "/a/../b", "/%41", "/" + "x" * 101):
        with pytest.raises(ValidationError, match="root_path"):
            Settings(root_path=path, _env_file=None)
    for proxies in (("proxy.example",), ("10.0.0.0/40",), ("10.0.0.1/8",), ("",)):
        with pytest.raises(ValidationError, match="is not an address or network"):
            Settings(trusted_proxies=proxies, _env_file=None)


def test_settings_are_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_ROOT_PATH", "/lookalike/")
    monkeypatch.setenv("LOOKALIKE_TRUSTED_PROXIES", "10.0.0.0/8, ::1")
    read = Settings(_env_file=None)
    assert (read.root_path, read.trusted_proxies) == ("/lookalike", ("10.0.0.0/8", "::1"))
    monkeypatch.setenv("LOOKALIKE_ROOT_PATH", "/")
    monkeypatch.setenv("LOOKALIKE_TRUSTED_PROXIES", '["127.0.0.1"]')
    read = Settings(_env_file=None)
    assert (read.root_path, read.trusted_proxies) == ("", ("127.0.0.1",))


SEGMENT = st.text("abcxyz0189._~@:+-", min_size=1, max_size=8).filter(
    lambda text: text not in (".", "..", *OWN_SEGMENTS)
)


@given(st.lists(SEGMENT, min_size=1, max_size=4).map("/".join), st.sampled_from(["/", "/images/1", "/x/x", "/a"]))
def test_any_root_path_is_kept_and_removed_again(path: str, inside: str) -> None:
    root_path = parse_root_path(f"/{path}/")
    assert root_path == f"/{path}"
    assert app_path({"type": "http", "path": root_path + inside, "root_path": root_path}) == inside
    mounted = {"path": root_path + inside, "root_path": f"{root_path}/web", "app_root_path": root_path}
    assert app_path(mounted) == inside


@given(st.text(max_size=30))
def test_any_text_is_a_safe_path_or_rejected(text: str) -> None:
    try:
        path = parse_root_path(text)
    except ValueError:
        return
    assert path == "" or re.fullmatch(r"(/[\w.~@:+-]+)+", path, re.ASCII)
