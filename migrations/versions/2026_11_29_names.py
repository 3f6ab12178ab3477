"""Rename tables and columns to the names used by the API, the settings and the metrics. No row changes."""

from collections.abc import Sequence

from alembic import op

revision: str = "names"
down_revision: str | None = "attempts"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = {"generations": "index_versions", "pictures": "images"}
# Keyed by the new table names.
COLUMNS = {
    "index_versions": {"vectors": "vector_dtype", "index": "index_backend"},
    "catalogue": {"moment": "milvus_timestamp", "generation_id": "index_version_id"},
    "encodings": {"generation_id": "index_version_id", "picture_id": "image_id"},
    "deletions": {"picture_id": "image_id"},
    "jobs": {"bytes": "size_bytes", "done": "processed"},
    "rejections": {"place": "entry_number"},
}
CONSTRAINTS = {
    "index_versions": {"pk_generations": "pk_index_versions"},
    "catalogue": {"fk_catalogue_generation_id_generations": "fk_catalogue_index_version_id_index_versions"},
    "images": {"pk_pictures": "pk_images", "uq_pictures_key": "uq_images_key"},
    "encodings": {
        "fk_encodings_generation_id_generations": "fk_encodings_index_version_id_index_versions",
        "fk_encodings_picture_id_pictures": "fk_encodings_image_id_images",
    },
}
INDEXES = {
    "ix_pictures_sha256": "ix_images_sha256",
    "ix_pictures_label": "ix_images_label",
    "ix_pictures_seq": "ix_images_seq",
    "ix_encodings_generation_id_seq": "ix_encodings_index_version_id_seq",
    "ix_encodings_picture_id": "ix_encodings_image_id",
    "uq_encodings_generation_id_slot": "uq_encodings_index_version_id_slot",
}
SEQUENCES = {"generations_id_seq": "index_versions_id_seq", "pictures_id_seq": "images_id_seq"}


def upgrade() -> None:
    """Apply the new names."""
    for old, new in TABLES.items():
        op.rename_table(old, new)
    for table, columns in COLUMNS.items():
        for old, new in columns.items():
            op.alter_column(table, old, new_column_name=new)
    for table, constraints in CONSTRAINTS.items():
        for old, new in constraints.items():
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {old} TO {new}")
    for old, new in INDEXES.items():
        op.execute(f"ALTER INDEX {old} RENAME TO {new}")
    for old, new in SEQUENCES.items():
        op.execute(f"ALTER SEQUENCE {old} RENAME TO {new}")


def downgrade() -> None:
    """Restore the old names."""
    for old, new in SEQUENCES.items():
        op.execute(f"ALTER SEQUENCE {new} RENAME TO {old}")
    for old, new in INDEXES.items():
        op.execute(f"ALTER INDEX {new} RENAME TO {old}")
    for table, constraints in CONSTRAINTS.items():
        for old, new in constraints.items():
            op.execute(f"ALTER TABLE {table} RENAME CONSTRAINT {new} TO {old}")
    for table, columns in COLUMNS.items():
        for old, new in columns.items():
            op.alter_column(table, new, new_column_name=old)
    for old, new in TABLES.items():
        op.rename_table(new, old)
