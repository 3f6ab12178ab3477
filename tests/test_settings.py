"""Settings: which values are normalised, and which are refused with a sentence."""

import pytest
from pydantic import ValidationError

from app.settings import Settings


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> "Read":
    return Read(monkeypatch)


class Read:
    """Reads the settings as the service does, with one variable set."""

    def __init__(self, environment: pytest.MonkeyPatch) -> None:
        self._environment = environment

    def __call__(self, name: str, value: str) -> Settings:
        self._environment.setenv(f"LOOKALIKE_{name}", value)
        return Settings(_env_file=None)

    def refused(self, name: str, value: str) -> str:
        with pytest.raises(ValidationError) as caught:
            self(name, value)
        (error,) = caught.value.errors()
        assert error["loc"][0] == name.lower()
        return str(error["msg"])


@pytest.mark.parametrize(
    "value",
    [
        '["search.example", "localhost"]',
        '["SEARCH.Example.", "LOCALHOST", "localhost"]',
        "search.example,localhost",
        " Search.example , localhost ",
    ],
)
def test_host_names_are_compared_without_case(read: Read, value: str) -> None:
    assert read("ALLOWED_HOSTS", value).allowed_hosts == ("search.example", "localhost")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('["*"]', "'*' is not a host name"),
        ('["*.example"]', "without scheme, path or wildcard"),
        ('["https://search.example"]', "is not a host name"),
        ('["search.example:8000"]', "Leave it out"),
        ('["bücher.example"]', "is not a host name"),
        ('[""]', "'' is not a host name"),
        ('["search.example"', "is not a list such as"),
        ("[7]", "valid string"),
    ],
)
def test_names_that_no_request_could_match_are_refused(read: Read, value: str, reason: str) -> None:
    assert reason in read.refused("ALLOWED_HOSTS", value)


@pytest.mark.parametrize(
    "value",
    [
        '["https://shop.example"]',
        '["https://shop.example/"]',
        '["HTTPS://Shop.Example:443"]',
        '["https://shop.example.:443/", "https://shop.example"]',
        "https://shop.example/",
    ],
)
def test_origins_are_read_as_browsers_send_them(read: Read, value: str) -> None:
    assert read("CORS_ORIGINS", value).cors_origins == ("https://shop.example",)


@pytest.mark.parametrize(
    "value", ["https://shop.example/path", "https://shop.example//", "shop.example", "*", "null", "https://a b"]
)
def test_what_is_no_origin_is_refused(read: Read, value: str) -> None:
    assert "is not an origin. Give scheme and host, without a path" in read.refused("CORS_ORIGINS", f'["{value}"]')


def test_without_them_any_name_and_no_other_site() -> None:
    settings = Settings(_env_file=None)
    assert (settings.allowed_hosts, settings.cors_origins) == ((), ())
