"""Whether a job adds files that the catalogue has under another key, and how many it added or skipped."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "duplicates"
down_revision: str | None = "warnings"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the columns; existing jobs add such files, as before."""
    op.add_column("jobs", sa.Column("on_duplicate", sa.Text, server_default="add", nullable=False))
    for name in ("skipped", "duplicates"):
        op.add_column("jobs", sa.Column(name, sa.BigInteger, server_default="0", nullable=False))


def downgrade() -> None:
    """Drop the columns."""
    for name in ("duplicates", "skipped", "on_duplicate"):
        op.drop_column("jobs", name)
