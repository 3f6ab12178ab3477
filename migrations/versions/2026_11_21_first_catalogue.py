"""Initial schema: pictures, their encodings by network, deletions, and the catalogue's state."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "first_catalogue"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the tables and the catalogue's one row."""
    op.create_table(
        "generations",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("bits", sa.Integer, nullable=False),
        sa.Column("feature_dim", sa.Integer, nullable=False),
        sa.Column("next_slot", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
    )
    catalogue = op.create_table(
        "catalogue",
        sa.Column("id", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("generation_id", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_catalogue"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_catalogue_generation_id_generations"),
        sa.CheckConstraint("id = 1", name=op.f("ck_catalogue_one_row")),
    )
    op.bulk_insert(catalogue, [{"id": 1}])
    op.create_table(
        "pictures",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("media_type", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("metadata", postgresql.JSONB, server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_pictures"),
        sa.UniqueConstraint("key", name="uq_pictures_key"),
    )
    op.create_index("ix_pictures_sha256", "pictures", ["sha256"])
    op.create_index("ix_pictures_label", "pictures", ["label"])
    op.create_table(
        "encodings",
        sa.Column("generation_id", sa.BigInteger, nullable=False),
        sa.Column("picture_id", sa.BigInteger, nullable=False),
        sa.Column("slot", sa.BigInteger, nullable=False),
        sa.Column("code", sa.LargeBinary, nullable=False),
        sa.Column("checksum", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("generation_id", "picture_id", name="pk_encodings"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_encodings_generation_id_generations"),
        sa.ForeignKeyConstraint(
            ["picture_id"], ["pictures.id"], name="fk_encodings_picture_id_pictures", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_encodings_generation_id_seq", "encodings", ["generation_id", "seq"])
    # For deleting the encodings of a picture.
    op.create_index("ix_encodings_picture_id", "encodings", ["picture_id"])
    op.create_table(
        "deletions",
        sa.Column("picture_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("picture_id", name="pk_deletions"),
    )
    op.create_index("ix_deletions_seq", "deletions", ["seq"])


def downgrade() -> None:
    """Drop all tables."""
    for table in ("deletions", "encodings", "pictures", "catalogue", "generations"):
        op.drop_table(table)
