"""Damage of every kind, planted by hand, is found, and mended where that can be."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from app.bootstrap import Service
from app.catalogue.storage.local import PictureFiles, content_hash
from app.ingest.pipeline import Upload
from app.maintenance.consistency_check import Check, Finding
from app.search.index import LocalIndex
from app.search.types import SearchOptions
from tests.pictures import encoded, gradient
from tests.vectors import vector_file

UPLOADS = [Upload(encoded(gradient(40 + at, 40)), f"key-{at}", {}) for at in range(12)]


@pytest.fixture
def filled(service: Service) -> Service:
    service.ingest.add(UPLOADS)
    return service


def checking(service: Service) -> Check:
    return Check(service.database, service.files, service.index, service.encodings)


def look(service: Service, sample: int = 1000) -> list[Finding]:
    # What a process has seen to be right it does not look at again.
    if isinstance(service.index, LocalIndex):
        vector_file(service)._checked[:] = False
    return checking(service).run(sample, lambda *_: None)


def run_sql(service: Service, statement: str) -> None:
    with service.database.begin() as session:
        session.execute(text(statement))


def original(service: Service, key: int) -> Path:
    return files_of(service).original(content_hash(UPLOADS[key].data))


def files_of(service: Service) -> PictureFiles:
    return PictureFiles(service.settings.data_dir / "pictures")


def found_again(service: Service) -> None:
    for upload in UPLOADS:
        match, shown = service.searcher.by_picture(upload.data, SearchOptions(k=1)).matches[0]
        assert (shown.key, match.distance, match.hamming) == (upload.key, 0.0, 0)


def test_a_sound_catalogue_has_no_findings(filled: Service) -> None:
    heard: list[tuple[int, int]] = []
    assert checking(filled).run(5, lambda done, total: heard.append((done, total))) == []
    assert heard == [(12, 12)]


def test_a_damaged_vector_is_found_and_made_anew(filled: Service) -> None:
    vectors = vector_file(filled)
    with vectors.path.open("r+b") as file:
        file.seek(3 * vectors.dim * 4 + 7)
        file.write(b"\xff\xff")
    (finding,) = look(filled)
    assert (finding.kind, finding.name) == ("vector", "key-3")
    assert checking(filled).repair([finding]) == []
    assert look(filled) == []
    found_again(filled)


def test_a_wrong_code_is_found_in_the_sample_and_made_anew(filled: Service) -> None:
    run_sql(filled, "UPDATE encodings SET code = set_byte(code, 0, get_byte(code, 0) # 255) WHERE image_id = 5")
    assert look(filled, sample=0) == []
    (finding,) = look(filled)
    assert (finding.kind, finding.picture_id) == ("code", 5)
    assert checking(filled).repair([finding]) == []
    assert look(filled) == []
    found_again(filled)


def test_a_picture_without_code_gets_one(filled: Service) -> None:
    run_sql(filled, "DELETE FROM encodings WHERE image_id = 2")
    (finding,) = look(filled)
    assert (finding.kind, finding.picture_id) == ("encoding", 2)
    assert checking(filled).repair([finding]) == []
    assert look(filled) == []


@pytest.mark.parametrize("missing", [True, False])
def test_a_lost_original_is_named_and_cannot_be_mended(filled: Service, missing: bool) -> None:
    path = original(filled, 7)
    if missing:
        path.unlink()
    else:
        path.write_bytes(b"something else")
    run_sql(filled, "DELETE FROM encodings WHERE image_id IN (8, 9)")
    findings = look(filled)
    assert {(one.kind, one.name) for one in findings} == {
        ("original", "key-7"),
        ("encoding", "key-7"),
        ("encoding", "key-8"),
    }
    left = checking(filled).repair(findings)
    assert {one.name for one in left} == {"key-7"}
    assert {one.name for one in look(filled)} == {"key-7"}
    (added,) = filled.ingest.add([UPLOADS[7]])
    assert (added.id, added.status) == (8, "unchanged")
    assert look(filled) == []
    assert path.read_bytes() == UPLOADS[7].data


def test_a_file_that_nobody_uses_goes_once_it_is_old(filled: Service) -> None:
    stray = files_of(filled).original("0" * 64)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"left by a crash")
    assert look(filled) == []
    old = time.time() - 7200
    os.utime(stray, (old, old))
    (finding,) = look(filled)
    assert finding.kind == "file"
    assert checking(filled).repair([finding]) == []
    assert not stray.exists()
    assert original(filled, 0).exists()


def test_what_was_deleted_while_it_looked_is_no_finding(filled: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    run_sql(filled, "DELETE FROM encodings WHERE image_id = 2")
    check = checking(filled)
    plain = check._unused

    def deleted_meanwhile(known: set[str]) -> Iterator[Finding]:
        filled.ingest.delete(2)
        return plain(known)

    monkeypatch.setattr(check, "_unused", deleted_meanwhile)
    assert check.run(0, lambda *_: None) == []


def test_vectors_that_were_never_written_are_found(filled: Service) -> None:
    run_sql(filled, "UPDATE encodings SET slot = 1000000 WHERE image_id = 1")
    (finding,) = look(filled)
    assert finding == Finding("vector", "key-0", 1)
    assert str(replace(finding, kind="file")) == "key-0: no image uses this file"
    assert checking(filled).repair([finding]) == []
