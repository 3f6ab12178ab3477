"""Attempts of a job, so that one that ends its process again and again is given up."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "attempts"
down_revision: str | None = "removals"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Counts from here on."""
    op.add_column("jobs", sa.Column("attempts", sa.Integer, server_default="0", nullable=False))


def downgrade() -> None:
    """Forgets how often jobs were taken up."""
    op.drop_column("jobs", "attempts")
