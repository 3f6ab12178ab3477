"""Queries with many parameters."""

import json
from typing import Any

import numpy as np
from sqlalchemy import insert, text

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.queries import first_of_group

BASE = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
# More than the maximum number of parameters of a statement.
MANY = 70_000


def group(picture: dict[str, Any], field: str) -> str | None:
    value = picture[field] if field in ("label", "key") else picture["metadata_"].get(field)
    # 1.0 as 1, which it equals.
    return None if value is None else json.dumps(value, sort_keys=True).replace("1.0", "1")


def test_first_of_group_is_the_first_image_with_an_equal_value(database: Database) -> None:
    rng = np.random.default_rng(0)
    values = (None, 1, 1.0, "1", True, [1, 2], [1.0, 2], {"b": 1, "a": None}, {"a": None, "b": 1}, "it's 100 %")
    pictures: list[dict[str, Any]] = [
        {
            "key": str(number),
            "label": (None, "boots", "hats", "")[rng.integers(4)],
            "metadata_": {"product": values[rng.integers(len(values))]} if rng.random() < 0.9 else {},
        }
        for number in range(60)
    ]
    with database.transaction() as session:
        ids = session.scalars(
            insert(Image).returning(Image.id, sort_by_parameter_order=True), [BASE | one for one in pictures]
        ).all()
    known = dict(zip(ids, pictures, strict=True))
    for field in ("product", "label", "key", "nothing", 'odd "name"'):
        asked = [*rng.permutation(np.array(ids)).tolist(), 10**9]
        firsts, expected = dict[object, int](), []
        for place, image_id in enumerate(asked[:-1]):
            expected.append(firsts.setdefault(group(known[image_id], field) or ("alone", image_id), place))
        with database.read_connection() as connection:
            assert first_of_group(connection, asked, field).tolist() == [*expected, -1]


def test_first_of_group_of_no_images_is_empty(database: Database) -> None:
    with database.read_connection() as connection:
        assert first_of_group(connection, [], "label").tolist() == []


def test_first_of_group_accepts_more_ids_than_a_statement_has_parameters(database: Database) -> None:
    with database.transaction() as session:
        session.execute(
            text(
                "INSERT INTO images (key, sha256, media_type, width, height, size_bytes, label) "
                "SELECT n, '', '', 1, 1, 1, 'label ' || n % 3 FROM generate_series(1, :many) n"
            ),
            {"many": MANY},
        )
    with database.read_connection() as connection:
        ids = list(connection.scalars(text("SELECT id FROM images ORDER BY id")))
        assert first_of_group(connection, ids, "label").tolist() == [position % 3 for position in range(MANY)]
