"""A trash: deleted images, which can be restored for some time."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "trash"
down_revision: str | None = "feature_sets"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables, empty: images deleted before are gone."""
    op.add_column("catalogue", sa.Column("restored_seq", sa.BigInteger, server_default="0", nullable=False))
    op.create_table(
        "trash",
        sa.Column("image_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("deletion_id", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("image_id", name="pk_trash"),
    )
    for name in ("deletion_id", "deleted_at", "sha256"):
        op.create_index(f"ix_trash_{name}", "trash", [name])
    op.create_table(
        "trash_encodings",
        sa.Column("index_version_id", sa.BigInteger, nullable=False),
        sa.Column("image_id", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("code", sa.LargeBinary, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("index_version_id", "image_id", name="pk_trash_encodings"),
        sa.ForeignKeyConstraint(
            ["index_version_id"],
            ["index_versions.id"],
            name="fk_trash_encodings_index_version_id_index_versions",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["image_id"], ["trash.image_id"], name="fk_trash_encodings_image_id_trash", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_trash_encodings_image_id", "trash_encodings", ["image_id"])


def downgrade() -> None:
    """Delete the images in the trash for good; the earlier version deletes their files at its next start."""
    op.execute(
        "INSERT INTO removals (sha256, claimed_at, safe_at, done) "
        "SELECT DISTINCT sha256, clock_timestamp(), clock_timestamp(), false FROM trash "
        "WHERE NOT EXISTS (SELECT FROM images WHERE images.sha256 = trash.sha256) "
        "ON CONFLICT (sha256) DO UPDATE SET done = false, number = excluded.number WHERE removals.done"
    )
    op.drop_table("trash_encodings")
    op.drop_table("trash")
    op.drop_column("catalogue", "restored_seq")
