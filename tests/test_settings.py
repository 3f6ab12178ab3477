"""Settings: normalised values, refused values, and renamed variables."""

from pathlib import Path

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from app.cli.main import app as commands
from app.common.setting_names import RENAMED, variable
from app.errors import LookalikeError
from app.settings import Settings


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> "Read":
    return Read(monkeypatch)


class Read:
    """Read the settings as the service does, with one variable set."""

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
        ('["search.example:8000"]', "has a port"),
        ('["bücher.example"]', "is not a host name"),
        ('[""]', "'' is not a host name"),
        ('["search.example"', "is not a list such as"),
        ("[7]", "valid string"),
    ],
)
def test_invalid_host_names_are_refused(read: Read, value: str, reason: str) -> None:
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
def test_origins_are_normalised_as_browsers_send_them(read: Read, value: str) -> None:
    assert read("CORS_ORIGINS", value).cors_origins == ("https://shop.example",)


@pytest.mark.parametrize(
    "value", ["https://shop.example/path", "https://shop.example//", "shop.example", "*", "null", "https://a b"]
)
def test_invalid_origins_are_refused(read: Read, value: str) -> None:
    assert "is not an origin. Use scheme and host, without a path" in read.refused("CORS_ORIGINS", f'["{value}"]')


def test_hosts_and_origins_are_empty_by_default() -> None:
    settings = Settings(_env_file=None)
    assert (settings.allowed_hosts, settings.cors_origins) == ((), ())


def test_new_names_of_renamed_settings_exist_and_old_ones_do_not() -> None:
    assert set(RENAMED.values()) <= Settings.model_fields.keys()
    assert not RENAMED.keys() & Settings.model_fields.keys()


@pytest.mark.parametrize("old", RENAMED)
def test_old_name_in_the_environment_is_refused_with_the_new_one(old: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(old), "1")
    with pytest.raises(LookalikeError, match=rf"^{variable(old)} is now called {variable(RENAMED[old])}\."):
        Settings(_env_file=None)


@pytest.mark.parametrize("line", ["LOOKALIKE_PICTURES=s3://bucket", "export lookalike_pictures='s3://bucket'"])
def test_old_name_in_a_file_is_refused_with_the_new_one(line: str, in_folder: Path) -> None:
    (in_folder / ".env").write_text(f"LOOKALIKE_DEMO=off\n{line}\n")
    with pytest.raises(LookalikeError, match="LOOKALIKE_PICTURES is now called LOOKALIKE_STORAGE_URL"):
        Settings()
    assert Settings(_env_file=None).storage_url is None, "a file that is not read has no effect"


def test_error_lists_every_old_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_INDEX", "milvus")
    monkeypatch.setenv("LOOKALIKE_LOG", "json")
    with pytest.raises(LookalikeError, match=r"LOOKALIKE_INDEX_BACKEND\. .*LOOKALIKE_LOG_FORMAT\."):
        Settings(_env_file=None)


@pytest.mark.parametrize("command", [["serve"], ["models"], ["keys", "list"], ["migrate"]])
@pytest.mark.parametrize("in_file", [False, True])
def test_every_command_refuses_old_names(command: list[str], in_file: bool, in_folder: Path) -> None:
    environment = {"LOOKALIKE_PICTURES": "s3://bucket"}
    if in_file:
        (in_folder / ".env").write_text("LOOKALIKE_PICTURES=s3://bucket\n")
    result = CliRunner().invoke(commands, command, env={} if in_file else environment)
    assert result.exit_code == 1
    assert "LOOKALIKE_PICTURES is now called LOOKALIKE_STORAGE_URL" in result.stderr
    assert list(in_folder.iterdir()) == ([in_folder / ".env"] if in_file else []), "the command created no files"


def test_unknown_name_in_a_file_gives_a_warning(in_folder: Path) -> None:
    (in_folder / ".env").write_text("LOOKALIKE_PROT=8080\nOTHER=1\n")
    result = CliRunner().invoke(commands, ["models"])
    assert result.exit_code == 0
    assert "LOOKALIKE_PROT is not a setting and has no effect. Did you mean LOOKALIKE_PORT?" in result.stderr
    assert "OTHER" not in result.stderr


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
