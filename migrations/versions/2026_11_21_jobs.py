"""Add import jobs and their rejections."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "jobs"
down_revision: str | None = "keys"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

COUNTS = ("done", "created", "updated", "unchanged", "rejected")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "jobs",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("state", sa.Text, server_default="running", nullable=False),
        sa.Column("archive", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger),
        *(sa.Column(name, sa.BigInteger, server_default="0", nullable=False) for name in COUNTS),
        sa.Column("error", sa.Text),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state"])
    op.create_table(
        "rejections",
        sa.Column("job_id", sa.BigInteger, nullable=False),
        sa.Column("place", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "place", name="pk_rejections"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_rejections_job_id_jobs", ondelete="CASCADE"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("rejections")
    op.drop_table("jobs")
