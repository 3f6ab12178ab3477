"""Filters in SQL, compared with the same words worked out in Python."""

import json
from collections.abc import Callable
from operator import eq, ge, gt, le, lt
from typing import Any

import numpy as np
import pytest
from sqlalchemy import insert, select

from app.catalogue.conditions import DEEPEST, MOST_TESTS, passes, read_filter
from app.catalogue.database import Database
from app.catalogue.queries import unheard_of
from app.catalogue.tables import Picture
from app.errors import InvalidInputError

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
            name: self.one(VALUES) if self.rng.random() < 0.7 else [self.one(VALUES) for _ in "ab"] for name in chosen
        }

    def test(self, depth: int) -> dict[str, Any]:
        operator = self.one((*COMPARED, "$ne", "$in", "$nin", "$exists", "$not"))
        match operator:
            case "$in" | "$nin":
                return {operator: [self.one(VALUES) for _ in range(self.rng.integers(4))]}
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


def test_every_filter_lets_through_what_its_words_say(database: Database) -> None:
    drawing = Drawing(0)
    labels = ("red", "10", None)
    pictures: list[dict[str, Any]] = [
        {"key": str(VALUES[row]) if row < 6 else f"key {row}", "label": labels[row % 3], "fields": drawing.said()}
        for row in range(ROWS)
    ]
    base = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    with database.begin() as session:
        session.execute(insert(Picture), [base | picture for picture in pictures])
    shares = []
    with database.asking() as session:
        for _ in range(400):
            filter_ = drawing.filter()
            found = set(session.scalars(select(Picture.key).where(passes(None, json.dumps(filter_)))))
            said = [
                picture["fields"] | {name: picture[name] for name in ("key", "label") if picture[name] is not None}
                for picture in pictures
            ]
            right = {one["key"] for one in said if expected(one, filter_)}
            assert found == right, filter_
            shares.append(len(right) / ROWS)
    # Neither all nor none of them, often enough.
    assert np.mean([0 < share < 1 for share in shares]) > 0.2


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"price": NaN}', "is not JSON: a number is not finite"),
        (f'{{"price": {10**400}}}', "too large for a float"),
        ('{"colour": "\\u0000"}', "NUL"),
        ("[]", "must be an object"),
        ('{"price": {"$lte": null}}', "price.$lte null is no value to compare with"),
        ('{"price": {"$near": 5}}', "price.$near is not known here; there are $eq, $gt"),
        ('{"price": {}}', "price says nothing"),
        ('{"price": [1, 2]}', "price.$eq must be a text, a number, true or false"),
        ('{"price": {"$in": 5}}', "price.$in must be a list"),
        ('{"price": {"$exists": "yes"}}', "price.$exists must be true or false"),
        ('{"price": {"$not": 5}}', "price.$not is not known here"),
        ('{"$nor": []}', "$nor is not known here; between fields there are $and, $or and $not"),
        ('{"$or": []}', "$or must be a list of filters"),
        ('{"$and": [5]}', "$and[0] must be an object"),
        ('{"$not": 5}', "$not must be an object"),
        ('{"$not": ' * (DEEPEST + 1) + "{}" + "}" * (DEEPEST + 1), f"lies more than {DEEPEST} deep"),
        (json.dumps({f"field {n}": 1 for n in range(MOST_TESTS + 1)}), "is one test too many"),
    ],
)
def test_what_is_no_filter_is_told_with_its_place(filter_: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_filter(filter_)
    assert refused.value.field == "filter"
    assert said in refused.value.reason


def test_what_no_picture_has_is_named(database: Database) -> None:
    base = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    with database.begin() as session:
        session.execute(insert(Picture), [base | {"key": "a", "label": "boots", "fields": {"price": 5}}])
    with database.asking() as session:
        assert unheard_of(session, "boots", '{"price": {"$gt": 9}, "label": "boots"}') == []
        said = unheard_of(session, "hats", '{"$or": [{"prize": 5}, {"price": 9}]}')
    assert said == ["No picture has the label 'hats'.", "No picture has the field 'prize'."]
