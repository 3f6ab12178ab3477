"""Consistency check: every kind of damage is found, and repaired where possible."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import TrashedImage
from app.catalogue.selection import Selection
from app.catalogue.storage.local import LocalStorage, content_hash
from app.catalogue.trash import TrashSelection
from app.ingest.uploads import Upload
from app.maintenance.consistency_check import ConsistencyCheck, Finding
from app.search.local.index import LocalIndex
from app.search.types import SearchOptions
from app.settings import Settings
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.images import encoded, gradient
from tests.vector_files import vector_file

UPLOADS = [Upload(encoded(gradient(40 + at, 40)), f"key-{at}", {}) for at in range(12)]


@pytest.fixture
def filled(service: Service) -> Service:
    service.ingest.add(UPLOADS)
    return service


def check_of(service: Service) -> ConsistencyCheck:
    return ConsistencyCheck(service.database, service.storage, service.index, service.embedding_writer)


def findings_of(service: Service, sample: int = 1000) -> list[Finding]:
    # A process caches which checksums it has verified.
    if isinstance(service.index, LocalIndex):
        vector_file(service)._checked[:] = False
    return check_of(service).run(sample, lambda *_: None)


def run_sql(service: Service, statement: str) -> None:
    with service.database.transaction() as session:
        session.execute(text(statement))


def original(service: Service, key: int) -> Path:
    return files_of(service).original(content_hash(UPLOADS[key].data))


def files_of(service: Service) -> LocalStorage:
    return LocalStorage(service.settings.data_dir / "pictures")


def require_all_found(service: Service) -> None:
    for upload in UPLOADS:
        match, shown = service.searcher.by_image(upload.data, SearchOptions(k=1)).matches[0]
        assert (shown.key, match.distance, match.hamming) == (upload.key, 0.0, 0)


def test_consistent_catalogue_has_no_findings(filled: Service) -> None:
    reports: list[tuple[int, int]] = []
    assert check_of(filled).run(5, lambda done, total: reports.append((done, total))) == []
    assert reports == [(12, 12)]


def test_damaged_vector_is_found_and_repaired(filled: Service) -> None:
    vectors = vector_file(filled)
    with vectors.path.open("r+b") as file:
        file.seek(3 * vectors.dim * 4 + 7)
        file.write(b"\xff\xff")
    (finding,) = findings_of(filled)
    assert (finding.kind, finding.name) == ("vector", "key-3")
    assert check_of(filled).repair([finding]) == []
    assert findings_of(filled) == []
    require_all_found(filled)


def test_wrong_code_is_found_in_the_sample_and_repaired(filled: Service) -> None:
    run_sql(filled, "UPDATE encodings SET code = set_byte(code, 0, get_byte(code, 0) # 255) WHERE image_id = 5")
    assert findings_of(filled, sample=0) == []
    (finding,) = findings_of(filled)
    assert (finding.kind, finding.image_id) == ("code", 5)
    assert check_of(filled).repair([finding]) == []
    assert findings_of(filled) == []
    require_all_found(filled)


def test_missing_encoding_is_found_and_repaired(filled: Service) -> None:
    run_sql(filled, "DELETE FROM encodings WHERE image_id = 2")
    (finding,) = findings_of(filled)
    assert (finding.kind, finding.image_id) == ("encoding", 2)
    assert check_of(filled).repair([finding]) == []
    assert findings_of(filled) == []


@pytest.mark.parametrize("missing", [True, False])
def test_lost_original_is_reported_and_replaced_on_the_next_upload(filled: Service, missing: bool) -> None:
    path = original(filled, 7)
    if missing:
        path.unlink()
    else:
        path.write_bytes(b"something else")
    run_sql(filled, "DELETE FROM encodings WHERE image_id IN (8, 9)")
    findings = findings_of(filled)
    assert {(one.kind, one.name) for one in findings} == {
        ("original", "key-7"),
        ("encoding", "key-7"),
        ("encoding", "key-8"),
    }
    left = check_of(filled).repair(findings)
    assert {one.name for one in left} == {"key-7"}
    assert {one.name for one in findings_of(filled)} == {"key-7"}
    (added,) = filled.ingest.add([UPLOADS[7]])
    assert (added.id, added.status) == (8, "unchanged")
    assert findings_of(filled) == []
    assert path.read_bytes() == UPLOADS[7].data


@pytest.fixture
def trashed(settings: Settings, database: Database) -> Iterator[Service]:
    """A service with twelve images, of which `key-3` and `key-7` are in the trash."""
    kept = settings.model_copy(update={"trash_days": 1})
    with build_service_with_encoder(kept, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as opened:
        opened.ingest.add(UPLOADS)
        opened.trash.delete(Selection(ids=[4, 8]), 2)
        yield opened


def require_restored(service: Service, image_id: int) -> None:
    with service.database.read_session() as session:
        before = session.get_one(TrashedImage, image_id).key
    service.trash.restore(TrashSelection(1, ids=[image_id]))
    match, shown = service.searcher.by_image(UPLOADS[image_id - 1].data, SearchOptions(k=1)).matches[0]
    assert (shown.key, match.distance, match.hamming) == (before, 0.0, 0)


def test_consistent_trash_has_no_findings(trashed: Service) -> None:
    reports: list[tuple[int, int]] = []
    assert check_of(trashed).run(1000, lambda done, total: reports.append((done, total))) == []
    assert reports == [(10, 12), (12, 12)]
    run_sql(trashed, "DELETE FROM trash_encodings")
    assert findings_of(trashed) == []


@pytest.mark.parametrize("missing", [True, False])
def test_lost_original_of_an_image_in_the_trash_is_reported(trashed: Service, missing: bool) -> None:
    path = original(trashed, 7)
    if missing:
        path.unlink()
    else:
        path.write_bytes(b"something else")
    (finding,) = findings_of(trashed)
    assert finding == Finding("original", "key-7", 8, in_trash=True)
    assert str(finding) == "key-7 (in the trash): the original is missing or damaged"
    assert check_of(trashed).repair([finding]) == [finding]
    assert not path.exists()
    trashed.ingest.add([replace(UPLOADS[7], key="again")])
    assert findings_of(trashed) == []
    require_restored(trashed, 8)


def test_damaged_vector_of_an_image_in_the_trash_is_encoded_again_by_a_restore(trashed: Service) -> None:
    vectors = vector_file(trashed)
    with vectors.path.open("r+b") as file:
        file.seek(3 * vectors.dim * 4 + 7)
        file.write(b"\xff\xff")
    (finding,) = findings_of(trashed)
    assert finding == Finding("vector", "key-3", 4, in_trash=True)
    assert check_of(trashed).repair([finding]) == []
    assert findings_of(trashed) == []
    require_restored(trashed, 4)
    assert findings_of(trashed) == []


def test_wrong_code_of_an_image_in_the_trash_is_found(trashed: Service) -> None:
    run_sql(trashed, "UPDATE trash_encodings SET code = set_byte(code, 0, get_byte(code, 0) # 255) WHERE image_id = 4")
    (finding,) = findings_of(trashed)
    assert finding == Finding("code", "key-3", 4, in_trash=True)
    assert check_of(trashed).repair([finding]) == []
    require_restored(trashed, 4)


def test_old_orphaned_file_is_deleted(filled: Service) -> None:
    stray = files_of(filled).original("0" * 64)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left by a crash")
    assert findings_of(filled) == []
    old = time.time() - 7200
    os.utime(stray, (old, old))
    (finding,) = findings_of(filled)
    assert finding.kind == "file"
    assert check_of(filled).repair([finding]) == []
    assert not stray.exists()
    assert original(filled, 0).exists()


def test_image_deleted_during_the_check_is_not_reported(filled: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    run_sql(filled, "DELETE FROM encodings WHERE image_id = 2")
    check = check_of(filled)
    plain = check._unused

    def deleted_meanwhile(known: set[str]) -> Iterator[Finding]:
        filled.ingest.delete(2)
        return plain(known)

    monkeypatch.setattr(check, "_unused", deleted_meanwhile)
    assert check.run(0, lambda *_: None) == []


def test_vector_that_was_never_written_is_found(filled: Service) -> None:
    run_sql(filled, "UPDATE encodings SET slot = 1000000 WHERE image_id = 1")
    (finding,) = findings_of(filled)
    assert finding == Finding("vector", "key-0", 1)
    assert str(replace(finding, kind="file")) == "key-0: no image uses this file"
    assert check_of(filled).repair([finding]) == []
