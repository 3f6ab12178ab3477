"""Parsing of host names and origins."""

import pytest

from app.common.hosts import Host, is_loopback, parse_host, parse_origin


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("localhost", Host("localhost")),
        ("LOCALHOST", Host("localhost")),
        ("LocalHost.:8000", Host("localhost", 8000)),
        ("Search.Example", Host("search.example")),
        ("search.example.", Host("search.example")),
        ("search.example:", Host("search.example")),
        ("under_score:1", Host("under_score", 1)),
        ("127.0.0.1:8000", Host("127.0.0.1", 8000)),
        ("[::1]:8000", Host("::1", 8000)),
        ("[0:0:0::0:1]", Host("::1")),
        ("[2001:DB8::A]", Host("2001:db8::a")),
    ],
)
def test_equal_names_parse_to_the_same_host(text: str, host: Host) -> None:
    assert parse_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*.example",
        "a b",
        "a/b",
        "http://a",
        "user@localhost",
        "localhost@evil.test",
        "localhost#evil.test",
        "localhost,evil.test",
        "::1",
        "[::1",
        "[localhost]",
        "a:b",
        "a:65536",
        "a:999999",
        "a:8000:8000",
        "a\n",
        "bücher.example",
        "localhost\x00",
    ],
)
def test_invalid_host_is_refused(text: str) -> None:
    assert parse_host(text) is None


@pytest.mark.parametrize(
    "name", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "127.8.8.8", "::1", "[::1]", "::ffff:127.0.0.1"]
)
def test_loopback_is_recognised_in_every_form(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name",
    ["", "localhost.evil.test", "127.0.0.1.evil.test", "::", "10.0.0.1", "::ffff:10.0.0.1", "nowhere"],
)
def test_other_names_are_not_loopback(name: str) -> None:
    assert not is_loopback(name)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.Example", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("https://shop.example:8443", "https://shop.example:8443"),
        ("http://[0::1]:8000", "http://[::1]:8000"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_equal_origins_have_one_normal_form(text: str, normal: str) -> None:
    assert str(parse_origin(text)) == normal


@pytest.mark.parametrize(
    "text",
    ["", "null", "*", "https://*", "shop.example", "https://", "https://a/b", "https://a?b", "https://a/", "http://["],
)
def test_invalid_origin_is_refused(text: str) -> None:
    assert parse_origin(text) is None


@pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("http://LOCALHOST", "localhost:80", True),
        ("http://localhost:80", "localhost", True),
        ("https://search.example", "search.example:443", True),
        ("https://search.example", "SEARCH.example.", True),
        ("http://[::1]:8000", "[0::1]:8000", True),
        ("http://127.0.0.1:9000", "127.0.0.1:8000", False),
        ("http://search.example", "search.example:443", False),
        ("https://search.example:8443", "search.example", False),
        ("https://evil.test", "search.example", False),
    ],
)
def test_origin_matches_the_host_it_came_from(origin: str, host: str, same: bool) -> None:
    page, requested = parse_origin(origin), parse_host(host)
    assert page is not None
    assert requested is not None
    assert page.has_host(requested) is same
