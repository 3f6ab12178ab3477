"""Record flaws of entries that a job has added."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "warnings"
down_revision: str | None = "normalised_text"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the table; it is empty for existing jobs."""
    op.create_table(
        "entry_warnings",
        sa.Column("job_id", sa.BigInteger, nullable=False),
        sa.Column("entry_number", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("warning", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "entry_number", name="pk_entry_warnings"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_entry_warnings_job_id_jobs", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("entry_warnings")
