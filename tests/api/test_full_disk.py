"""Full disks: writes return 503 with the reason, searches work, and writes work again once there is space."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest
from fastapi.testclient import TestClient
from psycopg.errors import DiskFull
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.images import corners, encoded

FIRST, SECOND = (encoded(corners(60 + 40 * at, 40), "PNG") for at in range(2))

Full = Callable[[pytest.MonkeyPatch], None]


def no_space(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def pictures_full(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Path, "write_bytes", no_space)


def pictures_full_at_the_sync(patch: pytest.MonkeyPatch) -> None:
    sync = os.fsync

    def fsync(fd: int) -> None:
        if "/pictures/" in str(Path(f"/proc/self/fd/{fd}").readlink()):
            no_space()
        sync(fd)

    patch.setattr(os, "fsync", fsync)


def vectors_full(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(os, "pwrite", no_space)


@contextmanager
def database_full() -> Iterator[None]:
    """Let every writing statement fail as in PostgreSQL on a full disk."""

    def refuse(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.lstrip().startswith(("INSERT", "UPDATE", "DELETE")):
            raise DiskFull("could not extend file: No space left on device")

    event.listen(Engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", refuse)


def add(client: TestClient, data: bytes) -> tuple[int, str]:
    answer = client.post("/index", files={"images": data})
    return answer.status_code, answer.text


def found(client: TestClient, data: bytes) -> list[tuple[int, float]]:
    answer = client.post("/search", files={"image": data})
    assert answer.status_code == 200, answer.text
    return [(match["id"], match["distance"]) for match in answer.json()["results"]]


# With Milvus the vectors are on another server's disk.
VECTORS = [] if os.environ.get("LOOKALIKE_INDEX_BACKEND") == "milvus" else [vectors_full]


@pytest.mark.parametrize("full", [pictures_full, pictures_full_at_the_sync, *VECTORS])
def test_full_disk_rejects_writes_but_not_searches(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, full: Full
) -> None:
    assert add(client, FIRST)[0] == 201
    with monkeypatch.context() as patch:
        full(patch)
        status, text = add(client, SECOND)
        assert status == 503
        assert "is full" in text
        assert found(client, SECOND)[0][0] == 1
        assert client.get("/readyz").status_code == 200
    assert add(client, SECOND)[0] == 201
    assert found(client, SECOND)[0][1] == 0.0


def test_full_database_rejects_writes_but_not_searches(client: TestClient) -> None:
    assert add(client, FIRST)[0] == 201
    with database_full():
        status, text = add(client, SECOND)
        assert status == 503
        assert "No space left" in text
        assert client.delete("/images/1").status_code == 503
        assert found(client, FIRST) == [(1, 0.0)]
    assert add(client, SECOND)[0] == 201
    assert client.delete("/images/1").status_code == 204
    assert [image_id for image_id, _ in found(client, FIRST)] == [2]
