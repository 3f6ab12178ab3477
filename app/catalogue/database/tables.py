"""The catalogue's tables. The database is the truth; everything else can be checked against it.

`catalogue` has one row: the number of the last change (`seq`) and the generation in use. Every change locks that
row until it commits, so the order of `seq` is the order in which changes become visible.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables, with names for every constraint."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Generation(Base):
    """One network's encodings of the catalogue; `next_slot` is the first row of its vector file not handed out.

    `vector_dtype` says how F7 is kept: `f32`, or `f16` in half the space. `index_backend` says where:
    `local` in that file, or in `milvus`, where a slot is a primary key.
    """

    __tablename__ = "index_versions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    bits: Mapped[int]
    feature_dim: Mapped[int]
    vector_dtype: Mapped[str] = mapped_column(Text, server_default="f32")
    index_backend: Mapped[str] = mapped_column(Text, server_default="local")
    next_slot: Mapped[int] = mapped_column(BigInteger, server_default="0")
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class CatalogueState(Base):
    """The one row that every change locks.

    At `milvus_timestamp`, in Milvus' own time, all encodings that the rows speak of are found; 0 without Milvus.
    """

    __tablename__ = "catalogue"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    milvus_timestamp: Mapped[int] = mapped_column(BigInteger, server_default="0")
    index_version_id: Mapped[int | None] = mapped_column(ForeignKey("index_versions.id"))


class Picture(Base):
    """A picture that can be found; `sha256` names its original on disk."""

    __tablename__ = "images"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    key: Mapped[str] = mapped_column(Text, unique=True)
    sha256: Mapped[str] = mapped_column(Text, index=True)
    media_type: Mapped[str] = mapped_column(Text)
    width: Mapped[int]
    height: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str | None] = mapped_column(Text, index=True)
    # SQLAlchemy reserves `metadata` on mapped classes.
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB, server_default="{}")
    # The last change of the picture or of what is said of it, for those who follow the changes.
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0", index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class Encoding(Base):
    """What one generation's network made of a picture: its code, and where its F7 lies."""

    __tablename__ = "encodings"
    __table_args__ = (
        Index("ix_encodings_index_version_id_seq", "index_version_id", "seq"),
        # Whose a slot is, which Milvus does not know; and no slot is ever used twice.
        Index(
            "uq_encodings_index_version_id_slot",
            "index_version_id",
            "slot",
            unique=True,
            postgresql_include=["image_id"],
        ),
    )

    index_version_id: Mapped[int] = mapped_column(ForeignKey("index_versions.id"), primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), primary_key=True, index=True)
    slot: Mapped[int] = mapped_column(BigInteger)
    code: Mapped[bytes]
    checksum: Mapped[int] = mapped_column(BigInteger)
    seq: Mapped[int] = mapped_column(BigInteger)


class ApiKey(Base):
    """A key that lets somebody in: what it is for, and the SHA-256 of its secret."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    digest: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class Deletion(Base):
    """A picture that was deleted, for those who follow the changes."""

    __tablename__ = "deletions"

    image_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, index=True)


class Removal(Base):
    """An original that no picture uses and whose files are to be deleted; see `app/catalogue/storage/removals.py`.

    Attributes:
        number: grows with each time that the row is queued or claimed.
        owner: the note of the work that is deleting the files; None if no work is.
        claimed_at: when the row was last queued or claimed.
        safe_at: from when on no deletion of the files can be under way.
        done: whether the files are deleted, or used again.
    """

    __tablename__ = "removals"
    __table_args__ = (Index("ix_removals_done_safe_at", "done", "safe_at"),)

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(), index=True)
    owner: Mapped[str | None] = mapped_column(Text)
    claimed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    safe_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    done: Mapped[bool]


class Job(Base):
    """An archive on its way into the catalogue; `processed` says how many of its entries are, in their order.

    `attempts` says how often in a row it was taken up without getting further; `error` says why the job failed, or what
    keeps it waiting.
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
    attempts: Mapped[int] = mapped_column(server_default="0")
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class Rejection(Base):
    """An entry of a job's archive that could not be used, and why."""

    __tablename__ = "rejections"

    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    entry_number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    key: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
