"""Add the queue of originals to delete."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "removals"
down_revision: str | None = "milvus"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "removals",
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("number", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("owner", sa.Text),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("safe_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name="pk_removals"),
    )
    op.create_index("ix_removals_number", "removals", ["number"])
    op.create_index("ix_removals_done_safe_at", "removals", ["done", "safe_at"])


def downgrade() -> None:
    """Drop the table; `lookalike check --repair` deletes unused originals."""
    op.drop_table("removals")
