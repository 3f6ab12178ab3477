"""Add the index backend of a generation, the Milvus timestamp, and an index from slots to pictures."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "milvus"
down_revision: str | None = "jobs"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Add the columns and the index; existing generations have local vector files."""
    op.add_column("generations", sa.Column("index", sa.Text, server_default="local", nullable=False))
    op.add_column("catalogue", sa.Column("moment", sa.BigInteger, server_default="0", nullable=False))
    op.create_index(
        "uq_encodings_generation_id_slot",
        "encodings",
        ["generation_id", "slot"],
        unique=True,
        postgresql_include=["picture_id"],
    )


def downgrade() -> None:
    """Drop the columns and the index; vectors in Milvus become unreachable."""
    op.drop_index("uq_encodings_generation_id_slot", "encodings")
    op.drop_column("catalogue", "moment")
    op.drop_column("generations", "index")
