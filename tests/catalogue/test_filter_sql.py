"""Filters as SQL, compared with an implementation in Python."""

import json
from collections.abc import Callable
from operator import eq, ge, gt, le, lt
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import filter_condition
from app.search.filter import parse_filter

COMPARED: dict[str, Callable[[Any, Any], bool]] = {"$eq": eq, "$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}
VALUES = ("red", "blue", "2024-05-01", "10", "", "it's 100 % \\ “x”", 5, 10, 10.5, -3, 0, True, False)
FIELDS = ("colour", "price", 'odd "name" $.*', "label", "key")
ROWS = 60


def compares(held: Any, operator: str, value: Any) -> bool:
    """Return whether a value, or any element of a list, meets a comparison with a value of its type."""

    def kind(item: Any) -> type:
        return bool if isinstance(item, bool) else float if isinstance(item, int | float) else type(item)

    compared, elements = COMPARED[operator], held if isinstance(held, list) else [held]
    return any(kind(item) is kind(value) and compared(item, value) for item in elements)


def holds(held: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "$ne":
            return not compares(held, "$eq", operand)
        case "$in":
            return any(compares(held, "$eq", item) for item in operand)
        case "$nin":
            return not any(compares(held, "$eq", item) for item in operand)
        case "$exists":
            return (held is not None) is operand
        case "$not":
            return not all(holds(held, *inner) for inner in operand.items())
        case _:
            return compares(held, operator, operand)


def expected(fields: dict[str, Any], filter_: dict[str, Any]) -> bool:
    """Return whether an image with these fields matches a filter."""

    def entry(name: str, value: Any) -> bool:
        match name:
            case "$and":
                return all(expected(fields, part) for part in value)
            case "$or":
                return any(expected(fields, part) for part in value)
            case "$not":
                return not expected(fields, value)
        tests = value if isinstance(value, dict) else {"$eq": value}
        return all(holds(fields.get(name), *test) for test in tests.items())

    return all(entry(name, value) for name, value in filter_.items())


class Generator:
    """Random generator of images' fields and filters."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def choice(self, of: Any) -> Any:
        return of[self.rng.integers(len(of))]

    def fields(self) -> dict[str, Any]:
        chosen = [name for name in FIELDS[:3] if self.rng.random() < 0.7]
        return {
            name: self.choice(VALUES) if self.rng.random() < 0.7 else [self.choice((*VALUES, None)) for _ in "ab"]
            for name in chosen
        }

    def test(self, depth: int) -> dict[str, Any]:
        operator = self.choice((*COMPARED, "$ne", "$in", "$nin", "$exists", "$not"))
        match operator:
            case "$in" | "$nin":
                return {operator: [self.choice(VALUES) for _ in range(self.rng.integers(7))]}
            case "$exists":
                return {operator: bool(self.rng.integers(2))}
            case "$not":
                return {operator: self.test(depth + 1)} if depth < 2 else {"$ne": "red"}
        return {operator: self.choice(VALUES)}

    def filter(self, depth: int = 0) -> dict[str, Any]:
        if depth < 3 and self.rng.random() < 0.5:
            word = self.choice(("$and", "$or", "$not"))
            if word == "$not":
                return {word: self.filter(depth + 1)}
            return {word: [self.filter(depth + 1) for _ in range(self.rng.integers(1, 4))]}
        tests = [self.choice(VALUES) if self.rng.random() < 0.3 else self.test(0) | self.test(0) for _ in range(2)]
        return {self.choice(FIELDS): test for test in tests}


def test_random_filters_match_the_reference(database: Database) -> None:
    generator = Generator(0)
    labels = ("red", "10", None)
    pictures: list[dict[str, Any]] = [
        {
            "key": str(VALUES[row]) if row < 6 else f"key {row}",
            "label": labels[row % 3],
            "metadata_": generator.fields(),
        }
        for row in range(ROWS)
    ]
    base = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    with database.transaction() as session:
        session.execute(insert(Image), [base | picture for picture in pictures])
    shares = []
    with database.read_session() as session:
        for _ in range(400):
            filter_ = generator.filter()
            found = set(
                session.scalars(select(Image.key).where(filter_condition(None, parse_filter(json.dumps(filter_)))))
            )
            fields = [
                picture["metadata_"] | {name: picture[name] for name in ("key", "label") if picture[name] is not None}
                for picture in pictures
            ]
            matching = {image["key"] for image in fields if expected(image, filter_)}
            assert found == matching, filter_
            shares.append(len(matching) / ROWS)
    # Enough filters match some images but not all.
    assert np.mean([0 < share < 1 for share in shares]) > 0.2


def test_list_of_values_is_one_sql_test(database: Database) -> None:
    def tests(values: int) -> int:
        query = select(Image.id).where(
            filter_condition(None, parse_filter(json.dumps({"price": {"$in": list(range(values))}})))
        )
        return str(query.compile(database.engine)).count("jsonb_path_exists")

    assert tests(1) == tests(200) == 1
