"""HEAD wherever there is a GET, and `If-None-Match`."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.api.conditional import is_not_modified
from app.settings import Settings
from tests.api.job_helpers import sample_images, send_archive, wait_until_ended
from tests.api.server import serve
from tests.api.test_index import add_images, random_image
from tests.ingest.archives import zipped

VARYING = {"content-length", "x-request-id"}
PATHS_WITHOUT_API = (
    "/",
    "/operations",
    "/training",
    "/docs",
    "/redoc",
    "/openapi.json",
    "/web/app.js",
    "/static-offline-docs/swagger-ui.css",
)


def get_paths(client: TestClient) -> list[str]:
    app: Any = client.app
    paths = [path for path, operations in app.openapi()["paths"].items() if "get" in operations]
    return [path.replace("{image_id}", "1").replace("{job_id}", "1") for path in paths] + list(PATHS_WITHOUT_API)


def test_head_returns_the_headers_of_every_get(client: TestClient) -> None:
    add_images(client, random_image(1))
    wait_until_ended(client, send_archive(client, zipped(sample_images(2))))
    paths = get_paths(client)
    assert len(paths) > 20
    for path in paths:
        got, headed = client.get(path), client.head(path)
        assert headed.status_code == got.status_code, path
        assert headed.content == b""
        assert set(headed.headers) == set(got.headers), path
        for name in set(got.headers) - VARYING:
            assert headed.headers[name] == got.headers[name], (path, name)


def test_head_of_an_original_has_its_length_and_reads_nothing(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unread(_: object) -> AsyncIterator[bytes]:
        yield pytest.fail("the file is read")

    add_images(client, random_image(1))
    monkeypatch.setattr("app.api.routes.images.ImageResponse._chunks", unread)
    answer = client.head("/images/1/original")
    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(random_image(1))))
    assert client.head("/images/2/original").status_code == 404
    assert client.head("/images/x/original").status_code == 422


def test_head_where_there_is_no_get_returns_405(client: TestClient) -> None:
    for path in ("/search", "/index"):
        answer = client.head(path)
        assert answer.status_code == 405
        assert "HEAD" not in answer.headers["allow"]
    assert client.put("/stats").headers["allow"] == "GET, HEAD"


def test_head_of_an_event_stream_ends_at_once(client: TestClient, settings: Settings) -> None:
    job_id = send_archive(client, zipped(sample_images(1)))
    for _ in range(40):  # more than may be open
        assert client.head(f"/jobs/{job_id}/events").headers["content-type"].startswith("text/event-stream")
    wait_until_ended(client, job_id)


def test_head_over_a_kept_connection_leaves_it_usable(settings: Settings) -> None:
    with serve(settings) as server:
        request = b"HEAD /%b HTTP/1.1\r\nHost: x\r\n\r\n"
        sent = request % b"web/app.js" + request % b"stats" + request % b"" + request % b"openapi.json"
        _, answer = server.request(sent + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        heads = answer.split(b"HTTP/1.1 200 OK\r\n")[1:]
        assert len(heads) == 5
        assert all(head.endswith(b"\r\n\r\n") for head in heads[:4])
        assert all(b"content-length: 0" not in head.lower() for head in heads)
        assert answer.endswith(b'{"status":"alive"}')


def test_head_is_logged_and_counted_with_its_route(client: TestClient) -> None:
    client.head("/images/1")
    assert 'method="HEAD",route="/images/{image_id}"' in client.get("/metrics").text.replace(" ", "")


@pytest.mark.parametrize("which", ["original", "thumbnail"])
def test_if_none_match_compares_weakly_and_reads_lists(client: TestClient, which: str) -> None:
    add_images(client, random_image(1))
    path = f"/images/1/{which}"
    tag = client.get(path).headers["etag"]
    for value in (tag, f"W/{tag}", f'"other", W/{tag}', f'W/"a,b",{tag}', "*", " * "):
        answer = client.get(path, headers={"If-None-Match": value})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag), value
        assert client.head(path, headers={"If-None-Match": value}).status_code == 304
    repeated = client.get(path, headers=[("If-None-Match", '"other"'), ("If-None-Match", tag)])
    assert repeated.status_code == 304
    for value in ('"other"', tag.strip('"'), f'"x{tag[1:]}', "", '"*"'):
        assert client.get(path, headers={"If-None-Match": value}).status_code == 200, value
    missing = path.replace("1", "9", 1)
    assert client.get(missing, headers={"If-None-Match": "*"}).status_code == 404


def test_page_and_its_files_return_304_for_a_current_tag(client: TestClient) -> None:
    for path in ("/", "/web/app.js"):
        tag = client.get(path).headers["etag"]
        for value in (tag, f"W/{tag}", f'"a", {tag}', "*"):
            assert client.get(path, headers={"If-None-Match": value}).status_code == 304, (path, value)
        assert client.get(path, headers={"If-None-Match": '"a"'}).status_code == 200


TAG = st.text(st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters='"\x7f'), max_size=12)


@given(st.lists(st.tuples(st.booleans(), TAG), min_size=1, max_size=5), TAG, st.sampled_from([",", ", ", " , "]))
def test_a_tag_matches_if_and_only_if_it_is_in_the_list(tags: list[tuple[bool, str]], own: str, separator: str) -> None:
    values = [("W/" if weak else "") + f'"{tag}"' for weak, tag in tags]
    expected = own in [tag for _, tag in tags]
    assert is_not_modified([separator.join(values)], f'"{own}"') == expected
    assert is_not_modified(values, f'"{own}"') == expected
