"""Files of codes beside the database that belong to this history of the catalogue."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "code_files"
down_revision: str | None = "operations"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "code_files",
        sa.Column("id", sa.Uuid, nullable=False),
        sa.Column("index_version_id", sa.BigInteger, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_code_files"),
        sa.ForeignKeyConstraint(
            ["index_version_id"],
            ["index_versions.id"],
            name="fk_code_files_index_version_id_index_versions",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_code_files_index_version_id", "code_files", ["index_version_id"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("code_files")
