"""Services announce themselves in the data folder, and are found there while they run."""

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from app.common.running_services import FOLDER, announced, find_services, local_url

URL = "http://127.0.0.1:8000"


def found(data: Path, database_url: str | None = None) -> list[str]:
    return [service.url for service in find_services(data, database_url)]


def file_of(data: Path) -> Path:
    return data / FOLDER / f"{os.getpid()}.json"


def test_service_is_found_while_it_runs(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    with announced(tmp_path, URL, None):
        assert found(tmp_path) == [URL]
        assert find_services(tmp_path, None)[0].pid == os.getpid()
    assert found(tmp_path) == []
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_file_is_private(tmp_path: Path) -> None:
    with announced(tmp_path, URL, None):
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / FOLDER, file_of(tmp_path))]
    assert modes == [0o700, 0o600]


def test_service_on_another_database_is_not_found(tmp_path: Path) -> None:
    with announced(tmp_path, URL, "postgresql://user:secret@host/one"):
        assert "secret" not in file_of(tmp_path).read_text()
        assert found(tmp_path) == []
        assert found(tmp_path, "postgresql://user:secret@host/two") == []
        assert found(tmp_path, "postgresql://user:secret@host/one") == [URL]


def test_service_in_another_container_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with announced(tmp_path, URL, None):
        monkeypatch.setattr("app.common.running_services._network_id", lambda: "elsewhere")
        assert found(tmp_path) == []


def test_killed_service_is_not_found_and_its_file_is_removed_by_the_next(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from app.common.running_services import announced\n"
        f"with announced(Path(sys.argv[1]), {URL!r}, None): print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert found(tmp_path) == [URL]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert found(tmp_path) == []
    assert len(list((tmp_path / FOLDER).iterdir())) == 1
    with announced(tmp_path, "http://127.0.0.1:9000", None):
        assert [path.name for path in (tmp_path / FOLDER).iterdir()] == [f"{os.getpid()}.json"]


@pytest.mark.parametrize(
    "content", ["", "[]", "nothing", "[" * 5000, '{"url": 5}', json.dumps({"url": URL, "pid": "1"}), "\ufeff{}"]
)
def test_damaged_file_is_ignored(tmp_path: Path, content: str) -> None:
    with announced(tmp_path, URL, None):
        file_of(tmp_path).write_text(content)
        assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 - an address to translate; nothing is bound
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
        ("10.0.0.7", "http://10.0.0.7:80"),
    ],
)
def test_local_url_reaches_the_listening_address(host: str, url: str) -> None:
    assert local_url(host, 80) == url
