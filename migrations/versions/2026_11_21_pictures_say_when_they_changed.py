"""Pictures say with which change they last changed, so that filters can follow."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "pictures_say_when_they_changed"
down_revision: str | None = "first_catalogue"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Adds the column; pictures that are there count as never changed."""
    op.add_column("pictures", sa.Column("seq", sa.BigInteger, server_default="0", nullable=False))
    op.create_index("ix_pictures_seq", "pictures", ["seq"])


def downgrade() -> None:
    """Drops the column and its index."""
    op.drop_column("pictures", "seq")
