"""SQLAlchemy models of import jobs and maintenance tasks."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, ForeignKey, Identity, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.catalogue.database.tables import Base


class Job(Base):
    """An import job: an archive whose entries are added to the catalogue in order.

    Attributes:
        on_duplicate: `add` or `skip` files that the catalogue has under another key.
        processed: number of entries processed.
        duplicates: number of created images whose file the catalogue had under another key.
        attempts: consecutive starts without progress.
        error: why the job failed, or why it is waiting.
        left_out: what the archive holds besides its entries: number and first names, by reason.
    """

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    state: Mapped[str] = mapped_column(Text, server_default="running", index=True)
    archive: Mapped[str] = mapped_column(Text)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int | None] = mapped_column(BigInteger)
    processed: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created: Mapped[int] = mapped_column(BigInteger, server_default="0")
    updated: Mapped[int] = mapped_column(BigInteger, server_default="0")
    unchanged: Mapped[int] = mapped_column(BigInteger, server_default="0")
    rejected: Mapped[int] = mapped_column(BigInteger, server_default="0")
    skipped: Mapped[int] = mapped_column(BigInteger, server_default="0")
    duplicates: Mapped[int] = mapped_column(BigInteger, server_default="0")
    on_duplicate: Mapped[str] = mapped_column(Text, server_default="add")
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)
    left_out: Mapped[dict[str, Any]] = mapped_column(JSONB, server_default="{}")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class Rejection(Base):
    """A rejected entry of a job's archive, with the reason."""

    __tablename__ = "rejections"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    entry_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)


class EntryWarning(Base):
    """A flaw of an entry that a job has added."""

    __tablename__ = "entry_warnings"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    entry_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    warning: Mapped[str] = mapped_column(Text)


class Task(Base):
    """The last run of a kind of maintenance task.

    Attributes:
        kind: `adapt`, `demo`, `reindex` or `report`.
        state: `running`, `done`, `failed` or `cancelled`.
        model: the model that a reindex moves to.
        step: what it is doing.
        processed, total: progress of the step; `total` is None until it is known.
        message: its result, or why it failed.
    """

    __tablename__ = "tasks"

    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    state: Mapped[str] = mapped_column(Text)
    model: Mapped[str | None] = mapped_column(Text)
    step: Mapped[str | None] = mapped_column(Text)
    processed: Mapped[int] = mapped_column(BigInteger)
    total: Mapped[int | None] = mapped_column(BigInteger)
    message: Mapped[str | None] = mapped_column(Text)
    started_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    ended_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
