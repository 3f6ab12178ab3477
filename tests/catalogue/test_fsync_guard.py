"""After a failed sync, writes are refused and searches work."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.catalogue.storage.fsync_guard import FsyncGuard
from app.catalogue.storage.local import LocalStorage
from app.catalogue.vectors.file import VectorFile
from app.errors import UnavailableError
from app.main import create_app
from app.settings import Settings
from tests.conftest import open_with_fake
from tests.images import corners, encoded

PICTURE = encoded(corners(60, 40), "PNG")


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make every sync fail; returns the list of attempts."""
    tried: list[int] = []

    def fail(fd: int) -> None:
        tried.append(fd)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    return tried


def test_failed_sync_stops_all_writes_of_the_process(tmp_path: Path, broken: list[int]) -> None:
    disk, calls = FsyncGuard(), list[str]()
    disk.on_failure(lambda: calls.append("failed"))
    vectors, files = VectorFile(tmp_path / "v.f32", 8, "f32", disk), LocalStorage(tmp_path / "pictures", disk)
    disk.require_healthy()
    for _ in range(3):
        with pytest.raises(UnavailableError, match="The disk failed"):
            vectors.write(np.array([0]), np.zeros((1, 8), np.float32))
        with pytest.raises(UnavailableError, match="The disk failed"):
            files.store({"ab" * 32: b"bytes"})
    assert len(broken) == 1
    assert calls == ["failed"]
    assert list(files.hashes()) == []
    vectors.close()


def test_after_a_failed_sync_searches_work_and_writes_return_503(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = TestClient(create_app(settings, open_with_fake), raise_server_exceptions=False)
    with pytest.raises(UnavailableError, match="The disk failed"), service as client:
        fail_and_check(client, monkeypatch)


def fail_and_check(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[object] = []
    first = client.post("/index", files={"images": PICTURE}).json()["items"][0]["id"]

    def fail(_fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(os, "kill", lambda *_: ended.append(None))
    monkeypatch.setattr("app.main.SHUTDOWN_DELAY_S", 0.0)
    answer = client.post("/index", files={"images": encoded(corners(70, 40), "PNG")})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "The disk failed" in client.get("/readyz").json()["detail"]
    assert client.delete(f"/images/{first}").status_code == 503
    assert client.patch(f"/images/{first}", json={"label": "x"}).status_code == 503
    found = client.post("/search", files={"image": PICTURE}).json()["results"]
    assert [match["id"] for match in found] == [first]
    assert ended == [None]
