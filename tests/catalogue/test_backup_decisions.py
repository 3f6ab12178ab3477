"""Backups have what is not an image: jobs with their rejections and warnings, and decisions about duplicates."""

from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.bootstrap import Service
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Base, DistinctPair, EntryWarning, Job, Rejection
from app.catalogue.duplicates.distinct_pairs import mark_distinct
from app.ingest.bulk import Outcome
from app.ingest.jobs import rows as jobs
from app.maintenance import backup as backing_up
from app.settings import Settings
from tests.catalogue.test_backup import add, elsewhere, restored, save

__all__ = ["elsewhere"]

TABLES = (DistinctPair, Job, Rejection, EntryWarning)
OUTCOMES = (
    Outcome("a.png", "a", "created"),
    Outcome("b.png", "b", "rejected", "The file is empty."),
    Outcome("c.png", "c", "created", warnings=("The last bytes are missing.",)),
)


def rows(session: Session, table: type[Base]) -> list[dict[str, object]]:
    columns = table.__table__.columns
    return [dict(row._mapping) for row in session.execute(select(*columns).order_by(*columns))]


def some_jobs(service: Service) -> None:
    """Record a job that is done, one that was cancelled, and one that is running."""
    with service.database.transaction() as session:
        for number in range(3):
            job = jobs.create_job(session, f"archive-{number}", 1000)
            jobs.advance(session, job.id, 0, OUTCOMES)
        jobs.end(session, 1, "done")
        jobs.cancel(session, 2)


def test_jobs_and_decisions_are_restored(service: Service, elsewhere: Settings, tmp_path: Path) -> None:
    add(service, 0, 1)
    some_jobs(service)
    with service.database.transaction() as session:
        mark_distinct(session, [1, 2])
    with service.database.read_session() as session:
        before = {table: rows(session, table) for table in TABLES}
    save(service, tmp_path / "backup")
    restored(elsewhere, tmp_path / "backup")
    with closing(Database(str(elsewhere.database_url))) as database, database.transaction() as session:
        after = {table: rows(session, table) for table in TABLES}
        running = after[Job].pop()
        assert before[Job].pop()["state"] == "running"
        assert after == before
        assert (running["id"], running["state"], running["total"], running["processed"]) == (3, "failed", 3, 3)
        assert "Upload the archive again" in str(running["error"])
        # Its archive is not there, so nothing may wait for it.
        assert jobs.next_job(session) is None
        assert jobs.create_job(session, "archive-3", 1).id == 4


def test_backup_without_jobs_is_restored_without_jobs(
    service: Service, elsewhere: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(service, 0, 1)
    some_jobs(service)
    # As earlier versions wrote it.
    monkeypatch.setattr(backing_up, "TABLES", tuple(one for one in backing_up.TABLES if one not in TABLES))
    save(service, tmp_path / "backup")
    monkeypatch.undo()
    with closing(Database(str(elsewhere.database_url))) as database, database.transaction() as session:
        jobs.create_job(session, "of-before", 1)
    restored(elsewhere, tmp_path / "backup")
    with closing(Database(str(elsewhere.database_url))) as database, database.transaction() as session:
        assert [rows(session, table) for table in TABLES] == [[], [], [], []]
        assert jobs.create_job(session, "archive", 1).id == 1
