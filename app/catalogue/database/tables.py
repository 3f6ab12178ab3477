"""SQLAlchemy models of the catalogue's tables, the source of truth for files and indexes. Others: `job_tables.py`.

`catalogue` has one row: the number of the last change (`seq`) and the active index version. Every change locks that row
until it commits, so changes become visible in the order of `seq`.
"""

from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    MetaData,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Declarative base, with naming conventions for constraints."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class FeatureSet(Base):
    """F7 of the catalogue by one network, stored in one way: which F7 may be compared.

    Attributes:
        fingerprint, model: the network, and the name or path of its checkpoint.
        bits: length of the codes by the network's own H.
        next_slot: first row of its vector file that is not handed out.
        vector_dtype: storage type of F7, `f32`, or `f16` at half the size.
        index_backend: where F7 is stored: `local` (the vector file) or `milvus` (a slot is a primary key).
        last_adaptation: what the last attempt to fit codes to the catalogue measured (`app/maintenance/adapt.py`).
    """

    __tablename__ = "feature_sets"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    bits: Mapped[int]
    feature_dim: Mapped[int]
    vector_dtype: Mapped[str] = mapped_column(Text, server_default="f32")
    index_backend: Mapped[str] = mapped_column(Text, server_default="local")
    next_slot: Mapped[int] = mapped_column(BigInteger, server_default="0")
    last_adaptation: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class IndexVersion(Base):
    """An index version: an H over a feature set, and the codes by it. Codes of different H are never compared.

    Attributes:
        fingerprint: identifies the codes: the network's, or for an adapted version the network's and its H.
        latent: H over stored F7 (`models/network/latent_layer.py`); None if H is part of the network.
        pool: default number of candidates; None for the checkpoint's.
        codes_curve: similarity as a function of the Hamming distance (`AnchoredCurve`); None for the checkpoint's.
    """

    __tablename__ = "index_versions"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    feature_set_id: Mapped[int] = mapped_column(ForeignKey("feature_sets.id"))
    fingerprint: Mapped[str] = mapped_column(Text)
    bits: Mapped[int]
    latent: Mapped[bytes | None]
    pool: Mapped[int | None]
    codes_curve: Mapped[dict[str, Any] | None] = mapped_column(JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())

    feature_set: Mapped[FeatureSet] = relationship(lazy="joined", innerjoin=True)

    @property
    def adapted(self) -> bool:
        """Whether H was fitted to the catalogue."""
        return self.latent is not None


class CatalogueState(Base):
    """The catalogue's state: one row, which every change locks.

    Attributes:
        milvus_timestamp: Milvus timestamp from which all committed encodings are visible; 0 without Milvus.
        restored_seq: the last change that restored images from the trash.
        old_thumbnails_to: images with at most this id may have thumbnails of an earlier size; 0 if there are none.
    """

    __tablename__ = "catalogue"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    milvus_timestamp: Mapped[int] = mapped_column(BigInteger, server_default="0")
    index_version_id: Mapped[int | None] = mapped_column(ForeignKey("index_versions.id"))
    restored_seq: Mapped[int] = mapped_column(BigInteger, server_default="0")
    old_thumbnails_to: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Image(Base):
    """A searchable image; `sha256` names its original in storage.

    PostgreSQL computes the column `words`, for text searches (`migrations/versions/2026_12_01_words.py`). It is not an
    attribute, so that no query of images reads it.
    """

    __tablename__ = "images"
    __table_args__ = (
        Column("words", TSVECTOR, Computed("image_words(key, label, metadata)", persisted=True)),
        Index("ix_images_words", "words", postgresql_using="gin"),
    )
    __mapper_args__ = MappingProxyType({"exclude_properties": ("words",)})

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
    # The last change to the image or its metadata, for incremental sync.
    seq: Mapped[int] = mapped_column(BigInteger, server_default="0", index=True)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class Encoding(Base):
    """An image's encoding in one index version: its code, and the slot of its F7.

    Versions of one feature set share the slots.
    """

    __tablename__ = "encodings"
    __table_args__ = (
        Index("ix_encodings_index_version_id_seq", "index_version_id", "seq"),
        # Maps slots to images, for Milvus; unique, because within a version no slot is used twice.
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


class TrashedImage(Base):
    """A deleted image that can be restored, with its columns of `images`; see `app/catalogue/trash.py`.

    Attributes:
        deletion_id: the `seq` of the change that deleted it, common to all images deleted together.
        deleted_at: when, also common to them.
    """

    __tablename__ = "trash"

    image_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    deletion_id: Mapped[int] = mapped_column(BigInteger, index=True)
    deleted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), index=True)
    key: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text, index=True)
    media_type: Mapped[str] = mapped_column(Text)
    width: Mapped[int]
    height: Mapped[int]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    label: Mapped[str | None] = mapped_column(Text)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", JSONB)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))


class TrashedEncoding(Base):
    """An encoding of a deleted image; no search reads it, and its slot stays in use."""

    __tablename__ = "trash_encodings"

    index_version_id: Mapped[int] = mapped_column(ForeignKey("index_versions.id", ondelete="CASCADE"), primary_key=True)
    image_id: Mapped[int] = mapped_column(
        ForeignKey("trash.image_id", ondelete="CASCADE"), primary_key=True, index=True
    )
    slot: Mapped[int] = mapped_column(BigInteger)
    code: Mapped[bytes]
    checksum: Mapped[int] = mapped_column(BigInteger)


class ApiKey(Base):
    """An API key: its scopes, and the SHA-256 of its secret. `last_used_at` is written at most once a minute."""

    __tablename__ = "api_keys"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    digest: Mapped[str] = mapped_column(Text)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))


class Deletion(Base):
    """A deleted image, for incremental sync."""

    __tablename__ = "deletions"

    image_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    seq: Mapped[int] = mapped_column(BigInteger, index=True)


class DistinctPair(Base):
    """Two images that a person has decided are not duplicates; `first_id` is the smaller id.

    There are no foreign keys, because images in the trash keep their pairs.
    """

    __tablename__ = "distinct_pairs"
    __table_args__ = (CheckConstraint("first_id < second_id", name="ordered"),)

    first_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    second_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False, index=True)


class Removal(Base):
    """An unused original whose files are to be deleted; see `app/catalogue/storage/deletion_queue.py`.

    Attributes:
        number: sequence number of the last time the row was queued or claimed.
        owner: the ledger note of the work that is deleting the files; None if none is.
        claimed_at: when the row was last queued or claimed.
        safe_at: when a deletion in progress can no longer be carried out.
        done: whether the files are deleted, or in use again.
    """

    __tablename__ = "removals"
    __table_args__ = (Index("ix_removals_done_safe_at", "done", "safe_at"),)

    sha256: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(), index=True)
    owner: Mapped[str | None] = mapped_column(Text)
    claimed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    safe_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    done: Mapped[bool]


class CodeFile(Base):
    """A file of codes of the active index version as of change `seq`; see `app/catalogue/code_files/registry.py`."""

    __tablename__ = "code_files"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    index_version_id: Mapped[int] = mapped_column(ForeignKey("index_versions.id", ondelete="CASCADE"), index=True)
    seq: Mapped[int] = mapped_column(BigInteger)
    written_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
