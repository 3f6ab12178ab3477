"""Which images have thumbnails of an earlier size."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "thumbnails"
down_revision: str | None = "distinct_pairs"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the column: all images so far have such thumbnails."""
    op.add_column("catalogue", sa.Column("old_thumbnails_to", sa.BigInteger, server_default="0", nullable=False))
    op.execute("UPDATE catalogue SET old_thumbnails_to = coalesce((SELECT max(id) FROM images), 0)")


def downgrade() -> None:
    """Drop the column; larger thumbnails stay."""
    op.drop_column("catalogue", "old_thumbnails_to")
