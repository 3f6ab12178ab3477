"""Simulated power cuts: unsynced writes are dropped, torn or reordered; no acknowledged change is lost.

Files are written normally, and unsynced operations are recorded. At the cut, each of them is kept, torn or dropped at
random. The database is not affected; its durability is PostgreSQL's.
"""

import logging
import os
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue.database.sessions import Database
from app.errors import NotFoundError
from app.ingest.uploads import Upload
from app.maintenance.consistency_check import ConsistencyCheck
from app.search.types import SearchOptions
from app.settings import Settings
from tests.crash.ledger import numbered_image
from tests.crash.orphans import orphans
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder

CUTS = int(os.environ.get("TORTURE_CUTS", "40"))
# Few, so that checking all of them after each cut stays fast.
MAX_STORED = 12

log = logging.getLogger(__name__)


class PowerCutError(BaseException):
    """The power cut; a BaseException, so that error handlers do not catch it."""


@dataclass
class ForgetfulDisk:
    """Records how to undo every unsynced operation."""

    chance: random.Random
    root: Path
    left: int = 10**9
    pieces: list[tuple[Path, int, bytes, bytes]] = field(default_factory=list)
    names: list[tuple[Path, Path, bytes | None]] = field(default_factory=list)
    plain: dict[str, Callable[..., Any]] = field(default_factory=dict)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Patch the functions that change files."""
        for name in ("pwrite", "fsync", "replace"):
            self.plain[name] = getattr(os, name)
            monkeypatch.setattr(os, name, getattr(self, name))
        write_bytes, replace = Path.write_bytes, Path.replace
        monkeypatch.setattr(Path, "write_bytes", lambda path, data: self.write_bytes(write_bytes, path, data))
        monkeypatch.setattr(Path, "replace", lambda path, target: self.rename(replace, path, Path(target)))

    def step(self) -> None:
        """Count an operation; raise at the cut."""
        self.left -= 1
        if self.left < 0:
            raise PowerCutError

    def pwrite(self, fd: int, data: Any, at: int) -> int:
        self.step()
        before = os.pread(fd, len(data), at)
        written: int = self.plain["pwrite"](fd, data, at)
        self.pieces.append((path_of(fd), at, before, bytes(data)))
        return written

    def write_bytes(self, plain: Callable[..., Any], path: Path, data: bytes) -> None:
        self.step()
        plain(path, data)
        self.pieces.append((path, 0, b"", data))

    def rename(self, plain: Callable[..., Any], path: Path, target: Path) -> Path:
        self.step()
        self.names.append((path, target, target.read_bytes() if target.exists() else None))
        self.pieces = [(target if piece[0] == path else piece[0], *piece[1:]) for piece in self.pieces]
        plain(path, target)
        return target

    def replace(self, path: str, target: str) -> None:
        self.plain["replace"](path, target)

    def fsync(self, fd: int) -> None:
        self.step()
        synced = path_of(fd)
        self.pieces = [piece for piece in self.pieces if piece[0] != synced]
        self.names = [name for name in self.names if name[1].parent != synced]

    def cut(self) -> None:
        """Keep, tear or drop each unsynced write; keep or drop each unsynced rename."""
        self.chance.shuffle(self.pieces)
        for path, at, before, data in self.pieces:
            kept = self.chance.choice((0, len(data), self.chance.randrange(len(data) + 1)))
            if path.exists() and self.root in path.parents:
                whole = bytearray(path.read_bytes())
                whole[at + kept : at + len(data)] = before[kept:] if before else b""
                path.write_bytes(bytes(whole))
        for _, target, old in reversed(self.names):
            if self.chance.random() < 0.5 and target.exists():
                target.unlink() if old is None else target.write_bytes(old)


def path_of(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


def opened(settings: Settings, database: Database) -> Any:
    return build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT)


@pytest.mark.timeout(CUTS * 10 + 120)
def test_acknowledged_changes_survive_power_cuts(settings: Settings, database: Database) -> None:
    chance, stored, deleted, number = random.Random(5), dict[int, int](), set[int](), 0
    for _ in range(CUTS):
        gone = set[int]()
        with opened(settings, database) as service, pytest.MonkeyPatch.context() as patch:
            disk = ForgetfulDisk(chance, settings.data_dir, left=chance.randrange(1, 60))
            disk.install(patch)
            with suppress(PowerCutError):
                while True:
                    numbers = [number + at for at in range(chance.randint(1, 4))]
                    number += len(numbers)
                    added = service.ingest.add([Upload(numbered_image(one), f"key-{one}", {}) for one in numbers])
                    stored |= {item.id: one for item, one in zip(added, numbers, strict=True) if item.id is not None}
                    while len(stored) > MAX_STORED:
                        one = chance.choice(list(stored))
                        # An interrupted deletion may or may not have happened.
                        del stored[one]
                        service.ingest.delete(one)
                        gone.add(one)
            patch.undo()
            disk.cut()
        with opened(settings, database) as service:
            require_consistent(service, stored, gone)
        deleted |= gone
    with opened(settings, database) as service:
        require_consistent(service, stored, deleted)
    log.warning("%d cuts, %d pictures stored, %d of them deleted", CUTS, len(stored) + len(deleted), len(deleted))
    assert len(stored) + len(deleted) > CUTS // 2


def require_consistent(service: Service, stored: dict[int, int], deleted: set[int]) -> None:
    for image_id, one in stored.items():
        answer = service.searcher.by_image(numbered_image(one), SearchOptions(k=5))
        assert (image_id, 0.0) in [(match.id, match.distance) for match, _ in answer.matches]
    for image_id in deleted:
        with pytest.raises(NotFoundError):
            service.searcher.by_id(image_id, SearchOptions())
    findings = ConsistencyCheck(service.database, service.storage, service.index, service.embedding_writer).run(
        0, lambda *_: None
    )
    assert findings == []
    assert orphans(service.database, service.settings.data_dir) == []


def test_disk_that_loses_synced_writes_is_detected(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that the test above can fail."""
    with opened(settings, database) as service:
        disk = ForgetfulDisk(random.Random(1), settings.data_dir)
        disk.install(monkeypatch)
        monkeypatch.setattr(os, "fsync", lambda _fd: None)
        stored = {
            item.id: at for at in range(6) for item in service.ingest.add([Upload(numbered_image(at), str(at), {})])
        }
        monkeypatch.undo()
        disk.cut()
    with opened(settings, database) as service:
        check = ConsistencyCheck(service.database, service.storage, service.index, service.embedding_writer)
        assert check.run(0, lambda *_: None) != []
        for image_id, at in stored.items():
            for match, _ in service.searcher.by_image(numbered_image(at), SearchOptions()).matches:
                assert match.distance == 0.0 or match.id != image_id, "a torn vector was ranked"
