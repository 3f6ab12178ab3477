"""Words of images, for full-text search: a generated column with an index."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "words"
down_revision: str | None = "trash"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The key, the label, and the texts and numbers in the metadata. Escapes in JSON stand for quotes, backslashes and
# control characters, all of which separate words.
_TEXT = r"""
    key || ' ' || coalesce(label, '') || ' ' || regexp_replace(
        jsonb_path_query_array(metadata, 'strict $.** ? (@.type() == "string" || @.type() == "number")')::text,
        '\\(u[0-9a-f]{4}|.)', ' ', 'g'
    )
"""
_WITHOUT_ACCENTS = r"regexp_replace(normalize({}, NFD), '[\u0300-\u036f]', '', 'g')"
# Words after the first 100,000 characters are left out, because PostgreSQL limits a tsvector to 1 MiB.
_FUNCTION = """
CREATE FUNCTION image_words(key text, label text, metadata jsonb) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT to_tsvector(
        'simple'::regconfig, left(regexp_replace(lower({}), '[[:punct:][:space:][:cntrl:]]+', ' ', 'g'), 100000)
    )
$$
"""


def upgrade() -> None:
    """Add the column, which PostgreSQL computes whenever a row's text changes."""
    connection = op.get_bind()
    # PostgreSQL normalises Unicode alone; in other encodings, words with accents are not found.
    unicode = connection.scalar(sa.text("SHOW server_encoding")) == "UTF8"
    connection.exec_driver_sql(_FUNCTION.format(_WITHOUT_ACCENTS.format(_TEXT) if unicode else _TEXT))
    connection.exec_driver_sql(
        "ALTER TABLE images ADD COLUMN words tsvector GENERATED ALWAYS AS (image_words(key, label, metadata)) STORED"
    )
    connection.exec_driver_sql("CREATE INDEX ix_images_words ON images USING gin (words)")


def downgrade() -> None:
    """Drop the column."""
    op.drop_index("ix_images_words", "images")
    op.drop_column("images", "words")
    op.execute("DROP FUNCTION image_words")
