"""Stored data is readable by its owner only, for any umask, run as root or as another user."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.common import private_modes
from tests.conftest import free_port, wait_until_ready
from tests.crash.ledger import numbered_image
from tests.ingest.archives import zipped

NOBODY_UID = 65534
IS_ROOT = os.geteuid() == 0
OTHERS = 0o077
COMMAND = [sys.executable, "-m", "app.cli.main"]


def can_run(user: int) -> bool:
    """Whether a user can run the installation, which may be in root's home."""
    try:
        return subprocess.run([*COMMAND, "--help"], user=user, stdout=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


# Root starts the embedded PostgreSQL under another account, other users under their own.
USERS = [os.geteuid(), *([NOBODY_UID] if IS_ROOT and can_run(NOBODY_UID) else [])]


def mode(path: Path) -> int:
    """Permissions of a file or folder; 0 if it was deleted meanwhile."""
    try:
        return stat.S_IMODE(path.lstat().st_mode)
    except FileNotFoundError:
        return 0


def open_to_others(folder: Path) -> list[str]:
    """Paths in a folder that other users may read, write or enter, except inside PostgreSQL's folders."""
    paths = (path for path in folder.rglob("*") if "postgres" not in path.relative_to(folder).parts[:-1])
    return [f"{path} {mode(path):o}" for path in paths if mode(path) & OTHERS and not path.is_symlink()]


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def passable() -> Iterator[Path]:
    """Folder that every user may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="lookalike-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.usefixtures("no_umask")
def test_folders_and_files_are_created_for_their_owner_only(tmp_path: Path) -> None:
    private_modes.make_folder(tmp_path / "one" / "two")
    private_modes.write_file(tmp_path / "one" / "file", b"data")
    os.close(private_modes.create_file(tmp_path / "one" / "new"))
    assert (mode(tmp_path / "one"), mode(tmp_path / "one" / "two")) == (0o700, 0o700)
    assert open_to_others(tmp_path) == []
    assert (tmp_path / "one" / "file").read_bytes() == b"data"
    with pytest.raises(FileExistsError):
        private_modes.create_file(tmp_path / "one" / "new")


@pytest.mark.usefixtures("no_umask")
def test_open_folders_of_earlier_versions_are_closed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for name in ("pictures", "vectors", "jobs", "mine"):
        (data / name).mkdir(parents=True)
    private_modes.make_data_folder(data)
    assert [mode(data / name) for name in ("pictures", "vectors", "jobs")] == [0o700] * 3
    assert (mode(data), mode(data / "mine")) == (0o777, 0o777), "folders the service did not create are unchanged"
    private_modes.make_data_folder(tmp_path / "new")
    assert mode(tmp_path / "new") == (private_modes.PASSABLE if IS_ROOT else 0o700)


def test_folder_of_another_user_only_gives_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pictures").mkdir(mode=0o755)

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    private_modes.make_data_folder(tmp_path)
    assert "is accessible to other users" in caplog.text


def as_user(user: int, data: Path) -> dict[str, Any]:
    """Arguments of `subprocess` to run a command as a user with umask 0."""
    variables = {"LOOKALIKE_DATA_DIR": str(data), "LOOKALIKE_DEMO": "off", "HOME": str(data.parent)}
    group = NOBODY_UID if user == NOBODY_UID else os.getegid()
    return {"env": os.environ | variables, "user": user, "group": group, "umask": 0}


@contextmanager
def served(options: Mapping[str, Any], log_in: Path) -> Iterator[httpx2.Client]:
    """Run the service as a user; yield a client."""
    port = free_port()
    command = [*COMMAND, "serve", "--port", str(port)]
    with (log_in / "server.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, **options)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait(60)


def capabilities(data: Path) -> int:
    """Effective capabilities of the embedded PostgreSQL process."""
    pid = (data / "postgres" / "postmaster.pid").read_text().split()[0]
    words = Path(f"/proc/{pid}/status").read_text().split()
    return int(words[words.index("CapEff:") + 1], 16)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("user", USERS)
def test_stored_data_cannot_be_read_by_other_users(passable: Path, user: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKALIKE_MODEL_CACHE_DIR")
    data, seen = passable / "data", set[str]()
    options = as_user(user, data)
    with served(options, passable) as client:
        for number in range(12):
            assert client.post("/index", files={"images": numbered_image(number)}).status_code == 201
        job = client.post("/jobs", content=zipped({f"{at}.png": numbered_image(50 + at) for at in range(40)})).json()
        while client.get(f"/jobs/{job['id']}").json()["state"] == "running":
            seen |= set(open_to_others(data))
            time.sleep(0.02)
        assert client.delete("/images/1").status_code == 204
        for words in (["backup", str(passable / "backup")], ["report", "--queries", "10"]):
            subprocess.run([*COMMAND, *words], check=True, **options)
        assert seen == set()
        assert (open_to_others(data), open_to_others(passable / "backup")) == ([], [])
        assert mode(passable / "backup") == 0o700
        assert {path.name for path in data.iterdir()} >= {"networks", "pictures", "report", "under-way", "vectors"}
        assert (mode(data), capabilities(data)) == (private_modes.PASSABLE if user == 0 else 0o700, 0)
