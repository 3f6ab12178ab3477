"""Count the attempts of a job, so that one that repeatedly crashes its process fails."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "attempts"
down_revision: str | None = "removals"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column; existing jobs start at 0."""
    op.add_column("jobs", sa.Column("attempts", sa.Integer, server_default="0", nullable=False))


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("jobs", "attempts")
