"""Store when API keys were last used, and the last run of each maintenance task."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "operations"
down_revision: str | None = "thumbnails"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column and the table."""
    op.add_column("api_keys", sa.Column("last_used_at", sa.DateTime(timezone=True)))
    op.create_table(
        "tasks",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("model", sa.Text),
        sa.Column("step", sa.Text),
        sa.Column("processed", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger),
        sa.Column("message", sa.Text),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("kind", name="pk_tasks"),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("tasks")
    op.drop_column("api_keys", "last_used_at")
