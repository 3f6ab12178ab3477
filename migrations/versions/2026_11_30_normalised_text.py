"""Convert keys, labels and metadata to Unicode normalisation form C, and record what a job's archive leaves out."""

import json
import unicodedata
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision: str = "normalised_text"
down_revision: str | None = "names"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

_ROWS = 1000
_FIND = sa.text(
    "SELECT id, key, label, metadata FROM images WHERE id > :after AND (key IS NOT NFC NORMALIZED OR "
    "label IS NOT NFC NORMALIZED OR metadata::text IS NOT NFC NORMALIZED) ORDER BY id LIMIT :limit"
)
_DESCRIBE = sa.text("UPDATE images SET label = :label, metadata = CAST(:metadata AS jsonb) WHERE id = :id")
# Where another image has the key already, both keep their keys.
_RENAME = sa.text(
    "UPDATE images SET key = :key WHERE id = :id AND NOT EXISTS (SELECT 1 FROM images AS other WHERE other.key = :key)"
)


def upgrade() -> None:
    """Add the column, and convert the text that is in another form."""
    op.add_column("jobs", sa.Column("left_out", JSONB(), server_default="{}", nullable=False))
    connection, after = op.get_bind(), 0
    # PostgreSQL normalises Unicode alone.
    if connection.scalar(sa.text("SHOW server_encoding")) != "UTF8":
        return
    while rows := connection.execute(_FIND, {"after": after, "limit": _ROWS}).all():
        for row in rows:
            label = None if row.label is None else _nfc(row.label)
            connection.execute(
                _DESCRIBE, {"id": row.id, "label": label, "metadata": json.dumps(_nfc_json(row.metadata))}
            )
            if (key := _nfc(row.key)) != row.key:
                connection.execute(_RENAME, {"id": row.id, "key": key})
        after = rows[-1].id


def downgrade() -> None:
    """Drop the column; text stays in its new form, which is equivalent."""
    op.drop_column("jobs", "left_out")


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _nfc_json(value: Any) -> Any:
    if isinstance(value, str):
        return _nfc(value)
    if isinstance(value, dict):
        return {_nfc(name): _nfc_json(child) for name, child in value.items()}
    return [_nfc_json(child) for child in value] if isinstance(value, list) else value
