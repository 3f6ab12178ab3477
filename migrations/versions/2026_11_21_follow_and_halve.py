"""Add `pictures.seq` for incremental filter updates, and `generations.vectors` for float16 vectors."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "follow_and_halve"
down_revision: str | None = "first_catalogue"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the columns; existing pictures get seq 0, existing vectors are float32."""
    op.add_column("pictures", sa.Column("seq", sa.BigInteger, server_default="0", nullable=False))
    op.create_index("ix_pictures_seq", "pictures", ["seq"])
    op.add_column("generations", sa.Column("vectors", sa.Text, server_default="f32", nullable=False))


def downgrade() -> None:
    """Drop the columns."""
    op.drop_column("generations", "vectors")
    op.drop_column("pictures", "seq")
