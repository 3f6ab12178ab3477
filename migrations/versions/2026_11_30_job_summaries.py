"""Record which files a job's archive has besides its entries, and flaws of entries that were added."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "job_summaries"
down_revision: str | None = "names"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the columns and the table; existing jobs have neither."""
    op.add_column("jobs", sa.Column("skipped", sa.BigInteger, server_default="0", nullable=False))
    names = postgresql.ARRAY(sa.Text)
    op.add_column("jobs", sa.Column("skipped_names", names, server_default="{}", nullable=False))
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
    """Drop them."""
    op.drop_table("entry_warnings")
    op.drop_column("jobs", "skipped_names")
    op.drop_column("jobs", "skipped")
