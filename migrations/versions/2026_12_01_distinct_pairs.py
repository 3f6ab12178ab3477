"""Pairs of images that a person has decided are not duplicates."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "distinct_pairs"
down_revision: str | None = "words"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "distinct_pairs",
        sa.Column("first_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("second_id", sa.BigInteger, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("first_id", "second_id", name="pk_distinct_pairs"),
        sa.CheckConstraint("first_id < second_id", name="ck_distinct_pairs_ordered"),
    )
    op.create_index("ix_distinct_pairs_second_id", "distinct_pairs", ["second_id"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("distinct_pairs")
