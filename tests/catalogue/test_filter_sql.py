"""Filters in SQL, compared with the same words worked out in Python."""

import json
from collections.abc import Callable
from operator import eq, ge, gt, le, lt
from typing import Any

import numpy as np
from sqlalchemy import insert, select

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Picture
from app.catalogue.filters.sql import passes
from app.search.filter import read_filter

COMPARED: dict[str, Callable[[Any, Any], bool]] = {"$eq": eq, "$gt": gt, "$gte": ge, "$lt": lt, "$lte": le}
VALUES = ("red", "blue", "2024-05-01", "10", "", "it's 100 % \\ “x”", 5, 10, 10.5, -3, 0, True, False)
FIELDS = ("colour", "price", 'odd "name" $.*', "label", "key")
ROWS = 60


def compares(held: Any, operator: str, value: Any) -> bool:
    """Tells whether a value, or an element of a list, compares so with another of its type."""

    def kind(one: Any) -> type:
        return bool if isinstance(one, bool) else float if isinstance(one, int | float) else type(one)

    compared, elements = COMPARED[operator], held if isinstance(held, list) else [held]
    return any(kind(one) is kind(value) and compared(one, value) for one in elements)


def holds(held: Any, operator: str, operand: Any) -> bool:
    match operator:
        case "$ne":
            return not compares(held, "$eq", operand)
        case "$in":
            return any(compares(held, "$eq", one) for one in operand)
        case "$nin":
            return not any(compares(held, "$eq", one) for one in operand)
        case "$exists":
            return (held is not None) is operand
        case "$not":
            return not all(holds(held, *inner) for inner in operand.items())
        case _:
            return compares(held, operator, operand)


def expected(said: dict[str, Any], filter_: dict[str, Any]) -> bool:
    """Tells whether a picture of which this is said passes."""

    def entry(name: str, value: Any) -> bool:
        match name:
            case "$and":
                return all(expected(said, part) for part in value)
            case "$or":
                return any(expected(said, part) for part in value)
            case "$not":
                return not expected(said, value)
        tests = value if isinstance(value, dict) else {"$eq": value}
        return all(holds(said.get(name), *test) for test in tests.items())

    return all(entry(name, value) for name, value in filter_.items())


class Drawing:
    """Draws pictures' fields, and filters over them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def one(self, of: Any) -> Any:
        return of[self.rng.integers(len(of))]

    def said(self) -> dict[str, Any]:
        chosen = [name for name in FIELDS[:3] if self.rng.random() < 0.7]
        return {
            name: self.one(VALUES) if self.rng.random() < 0.7 else [self.one((*VALUES, None)) for _ in "ab"]
            for name in chosen
        }

    def test(self, depth: int) -> dict[str, Any]:
        operator = self.one((*COMPARED, "$ne", "$in", "$nin", "$exists", "$not"))
        match operator:
            case "$in" | "$nin":
                return {operator: [self.one(VALUES) for _ in range(self.rng.integers(7))]}
            case "$exists":
                return {operator: bool(self.rng.integers(2))}
            case "$not":
                return {operator: self.test(depth + 1)} if depth < 2 else {"$ne": "red"}
        return {operator: self.one(VALUES)}

    def filter(self, depth: int = 0) -> dict[str, Any]:
        if depth < 3 and self.rng.random() < 0.5:
            word = self.one(("$and", "$or", "$not"))
            if word == "$not":
                return {word: self.filter(depth + 1)}
            return {word: [self.filter(depth + 1) for _ in range(self.rng.integers(1, 4))]}
        tests = [self.one(VALUES) if self.rng.random() < 0.3 else self.test(0) | self.test(0) for _ in range(2)]
        return {self.one(FIELDS): test for test in tests}


def test_random_filters_match_the_reference(database: Database) -> None:
    drawing = Drawing(0)
    labels = ("red", "10", None)
    pictures: list[dict[str, Any]] = [
        {"key": str(VALUES[row]) if row < 6 else f"key {row}", "label": labels[row % 3], "metadata_": drawing.said()}
        for row in range(ROWS)
    ]
    base = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    with database.begin() as session:
        session.execute(insert(Picture), [base | picture for picture in pictures])
    shares = []
    with database.asking() as session:
        for _ in range(400):
            filter_ = drawing.filter()
            found = set(session.scalars(select(Picture.key).where(passes(None, read_filter(json.dumps(filter_))))))
            said = [
                picture["metadata_"] | {name: picture[name] for name in ("key", "label") if picture[name] is not None}
                for picture in pictures
            ]
            right = {one["key"] for one in said if expected(one, filter_)}
            assert found == right, filter_
            shares.append(len(right) / ROWS)
    # Neither all nor none of them, often enough.
    assert np.mean([0 < share < 1 for share in shares]) > 0.2


def test_list_of_values_is_one_sql_test(database: Database) -> None:
    def tests(values: int) -> int:
        said = select(Picture.id).where(passes(None, read_filter(json.dumps({"price": {"$in": list(range(values))}}))))
        return str(said.compile(database.engine)).count("jsonb_path_exists")

    assert tests(1) == tests(200) == 1
