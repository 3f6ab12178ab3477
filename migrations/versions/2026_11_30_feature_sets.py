"""Separate feature sets (which F7 may be compared) from index versions (which codes may be compared).

The table of index versions becomes that of feature sets, with its ids, because vector files are named by them.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "feature_sets"
down_revision: str | None = "duplicates"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# Tables that refer to index versions.
_REFERRING = ("encodings", "catalogue")


def upgrade() -> None:
    """Make an index version of each feature set, with its id: the one whose H is part of the network."""
    _drop_references()
    op.rename_table("index_versions", "feature_sets")
    op.execute("ALTER TABLE feature_sets RENAME CONSTRAINT pk_index_versions TO pk_feature_sets")
    op.execute("ALTER SEQUENCE index_versions_id_seq RENAME TO feature_sets_id_seq")
    op.add_column("feature_sets", sa.Column("last_adaptation", JSONB))
    op.create_table(
        "index_versions",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("feature_set_id", sa.BigInteger, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("bits", sa.Integer, nullable=False),
        sa.Column("latent", sa.LargeBinary),
        sa.Column("pool", sa.Integer),
        sa.Column("codes_curve", JSONB),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_index_versions"),
        sa.ForeignKeyConstraint(
            ["feature_set_id"], ["feature_sets.id"], name="fk_index_versions_feature_set_id_feature_sets"
        ),
    )
    op.execute(
        "INSERT INTO index_versions (id, feature_set_id, fingerprint, bits, created_at) "
        "SELECT id, id, fingerprint, bits, created_at FROM feature_sets"
    )
    op.execute(
        "SELECT setval(pg_get_serial_sequence('index_versions', 'id'), coalesce(max(id), 1), max(id) IS NOT NULL) "
        "FROM index_versions"
    )
    _create_references()


def downgrade() -> None:
    """Keep the codes whose H is part of the network.

    Raises:
        RuntimeError: the catalogue uses codes that earlier versions do not know.
    """
    adapted = op.get_bind().scalar(
        sa.text(
            "SELECT 1 FROM catalogue JOIN index_versions v ON v.id = catalogue.index_version_id "
            "WHERE v.latent IS NOT NULL"
        )
    )
    if adapted is not None:
        raise RuntimeError("The catalogue uses adapted codes. Run `lookalike reindex` with its model first.")
    _drop_references()
    op.execute(
        "DELETE FROM encodings USING index_versions v WHERE v.id = encodings.index_version_id AND v.latent IS NOT NULL"
    )
    versions = sa.table("index_versions", sa.column("id"), sa.column("feature_set_id"))
    for name in _REFERRING:
        table = sa.table(name, sa.column("index_version_id"))
        moved = (versions.c.id == table.c.index_version_id) & (versions.c.id != versions.c.feature_set_id)
        op.execute(sa.update(table).values(index_version_id=versions.c.feature_set_id).where(moved))
    op.drop_table("index_versions")
    op.drop_column("feature_sets", "last_adaptation")
    op.execute("ALTER SEQUENCE feature_sets_id_seq RENAME TO index_versions_id_seq")
    op.execute("ALTER TABLE feature_sets RENAME CONSTRAINT pk_feature_sets TO pk_index_versions")
    op.rename_table("feature_sets", "index_versions")
    _create_references()


def _drop_references() -> None:
    for table in _REFERRING:
        op.drop_constraint(f"fk_{table}_index_version_id_index_versions", table)


def _create_references() -> None:
    for table in _REFERRING:
        name = f"fk_{table}_index_version_id_index_versions"
        op.create_foreign_key(name, table, "index_versions", ["index_version_id"], ["id"])
