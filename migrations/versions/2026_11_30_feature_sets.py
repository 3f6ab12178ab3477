"""Separate feature sets (which F7 may be compared) from index versions (which codes may be compared)."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "feature_sets"
down_revision: str | None = "duplicates"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Columns that describe F7 and not the codes.
_MOVED = ("model", "feature_dim", "vector_dtype", "index_backend", "next_slot")


def upgrade() -> None:
    """Make a feature set of each index version, with its id, because vector files are named by it."""
    op.create_table(
        "feature_sets",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("feature_dim", sa.Integer, nullable=False),
        sa.Column("vector_dtype", sa.Text, server_default="f32", nullable=False),
        sa.Column("index_backend", sa.Text, server_default="local", nullable=False),
        sa.Column("next_slot", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("last_adaptation", JSONB),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feature_sets"),
    )
    op.execute(
        "INSERT INTO feature_sets (id, fingerprint, model, feature_dim, vector_dtype, index_backend, next_slot, "
        "created_at) SELECT id, fingerprint, model, feature_dim, vector_dtype, index_backend, next_slot, created_at "
        "FROM index_versions"
    )
    op.execute(
        "SELECT setval(pg_get_serial_sequence('feature_sets', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL) "
        "FROM feature_sets"
    )
    op.add_column("index_versions", sa.Column("feature_set_id", sa.BigInteger))
    op.execute("UPDATE index_versions SET feature_set_id = id")
    op.alter_column("index_versions", "feature_set_id", nullable=False)
    op.create_foreign_key(
        "fk_index_versions_feature_set_id_feature_sets", "index_versions", "feature_sets", ["feature_set_id"], ["id"]
    )
    op.add_column("index_versions", sa.Column("latent", sa.LargeBinary))
    op.add_column("index_versions", sa.Column("pool", sa.Integer))
    op.add_column("index_versions", sa.Column("codes_curve", JSONB))
    for name in _MOVED:
        op.drop_column("index_versions", name)


def downgrade() -> None:
    """Keep the versions whose H is part of the network, and the vectors under their feature set's id.

    Raises:
        RuntimeError: the catalogue uses codes that earlier versions do not know.
    """
    connection = op.get_bind()
    versions = sa.table("index_versions", sa.column("id"), sa.column("feature_set_id"), sa.column("latent"))
    encodings = sa.table("encodings", sa.column("index_version_id"))
    unknown = sa.select(versions.c.id).where(
        versions.c.latent.is_not(None) | (versions.c.id != versions.c.feature_set_id)
    )
    catalogue = sa.table("catalogue", sa.column("index_version_id"))
    if connection.scalar(sa.select(catalogue).where(catalogue.c.index_version_id.in_(unknown))):
        raise RuntimeError("The catalogue uses adapted codes. Run `lookalike reindex` with its model first.")
    op.execute(sa.delete(encodings).where(encodings.c.index_version_id.in_(unknown)))
    op.execute(sa.delete(versions).where(versions.c.id.in_(unknown)))
    op.add_column("index_versions", sa.Column("model", sa.Text))
    op.add_column("index_versions", sa.Column("feature_dim", sa.Integer))
    op.add_column("index_versions", sa.Column("vector_dtype", sa.Text, server_default="f32", nullable=False))
    op.add_column("index_versions", sa.Column("index_backend", sa.Text, server_default="local", nullable=False))
    op.add_column("index_versions", sa.Column("next_slot", sa.BigInteger, server_default="0", nullable=False))
    op.execute(
        "UPDATE index_versions v SET model = s.model, feature_dim = s.feature_dim, vector_dtype = s.vector_dtype, "
        "index_backend = s.index_backend, next_slot = s.next_slot FROM feature_sets s WHERE s.id = v.feature_set_id"
    )
    for name in ("model", "feature_dim"):
        op.alter_column("index_versions", name, nullable=False)
    for name in ("codes_curve", "pool", "latent", "feature_set_id"):
        op.drop_column("index_versions", name)
    op.drop_table("feature_sets")
