"""Where a generation's codes and vectors are, and whose a slot is."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "milvus"
down_revision: str | None = "jobs"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """All generations that there are have their vectors in files; every slot was used once."""
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
    """Forgets where; what is in Milvus is not found any more."""
    op.drop_index("uq_encodings_generation_id_slot", "encodings")
    op.drop_column("catalogue", "moment")
    op.drop_column("generations", "index")
