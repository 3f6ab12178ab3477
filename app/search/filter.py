"""A search's `filter`, read into a tree of tests.

A filter is JSON in the words of MongoDB, which users of Pinecone and Chroma know:
`{"price": {"$lte": 50}, "colour": {"$in": ["red", "blue"]}}`. Fields are those of a picture's metadata, and its
`label` and `key`. Knows nothing of SQL: `app/catalogue/filters/sql.py` turns the tree into a condition.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.common.json_values import RepeatedNameError, check_json, unique_names
from app.errors import InvalidInputError

# A test is evaluated for every picture; a comparison is one value that a test compares with.
MAX_TESTS, MAX_COMPARISONS, MAX_DEPTH = 64, 256, 16
COMPARISONS = {"$eq": "==", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

Value = str | float | bool


@dataclass(frozen=True)
class Compares:
    """The field, or an element of its list, compares so (`sign`) with one of the values."""

    field: str
    sign: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Exists:
    """The field is there."""

    field: str


@dataclass(frozen=True)
class Not:
    """The test fails."""

    test: "Test"


@dataclass(frozen=True)
class AllOf:
    """Every test passes; so it does where there are none."""

    tests: "tuple[Test, ...]"


@dataclass(frozen=True)
class AnyOf:
    """One of the tests passes."""

    tests: "tuple[Test, ...]"


Test = Compares | Exists | Not | AllOf | AnyOf


@dataclass(frozen=True)
class Filter:
    """A filter that was read.

    Two are equal if their texts are. Their trees cannot say so: to Python, 1, 1.0 and true are equal.

    Attributes:
        text: the JSON that it was read from.
        test: what a picture has to pass.
        fields: the fields that it names.
    """

    text: str
    test: Test = field(compare=False)
    fields: tuple[str, ...] = field(compare=False, default=())


def read_filter(text: str) -> Filter:
    """Reads a filter.

    Raises:
        InvalidInputError: the text is no filter; the error says where and why.
    """
    try:
        parsed = check_json(json.loads(text, object_pairs_hook=unique_names))
    except RepeatedNameError as error:
        raise _wrong(error.name, "occurs twice in one object. Combine its conditions with $and or $in") from error
    except (ValueError, RecursionError) as error:
        raise _wrong("", f"is not JSON: {error}") from error
    reader = _Reader()
    return Filter(text, reader.all_of(parsed, ""), tuple(reader.fields))


class _Reader:
    """Reads one filter, and counts what is in it."""

    def __init__(self) -> None:
        self._tests = self._comparisons = self._depth = 0
        self.fields: list[str] = []

    def all_of(self, given: Any, at: str) -> Test:
        """Reads an object: every entry must pass."""
        if not isinstance(given, dict):
            raise _wrong(at, 'must be an object, such as {"price": {"$lte": 50}}')
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _wrong(at, f"lies more than {MAX_DEPTH} deep")
        read = [self._entry(name, value, f"{at}.{name}" if at else name) for name, value in given.items()]
        self._depth -= 1
        return AllOf(tuple(read))

    def _entry(self, name: str, value: Any, at: str) -> Test:
        if name in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise _wrong(at, "must be a list of filters, at least one")
            read = tuple(self.all_of(part, f"{at}[{number}]") for number, part in enumerate(value))
            return AllOf(read) if name == "$and" else AnyOf(read)
        if name == "$not":
            return Not(self.all_of(value, at))
        if name.startswith("$"):
            raise _wrong(at, "is not known here; between fields there are $and, $or and $not")
        return self._field(name, value if isinstance(value, dict) else {"$eq": value}, at)

    def _field(self, name: str, tests: Mapping[str, Any], at: str) -> Test:
        self.fields.append(name)
        if not tests:
            raise _wrong(at, 'says nothing; give a value, or an operator such as {"$lte": 50}')
        read = (self._test(name, operator, operand, f"{at}.{operator}") for operator, operand in tests.items())
        return AllOf(tuple(read))

    def _test(self, name: str, operator: str, operand: Any, at: str) -> Test:
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise _wrong(at, f"is one test too many; a filter has at most {MAX_TESTS}")
        if operator in COMPARISONS:
            return Compares(name, COMPARISONS[operator], self._values([operand], at))
        if operator == "$ne":
            return Not(Compares(name, "==", self._values([operand], at)))
        if operator in ("$in", "$nin"):
            if not isinstance(operand, list):
                raise _wrong(at, "must be a list of values")
            found = Compares(name, "==", self._values(operand, at))
            return found if operator == "$in" else Not(found)
        if operator == "$exists":
            if not isinstance(operand, bool):
                raise _wrong(at, "must be true or false")
            return Exists(name) if operand else Not(Exists(name))
        if operator == "$not" and isinstance(operand, dict):
            return Not(self._field(name, operand, at))
        known = ", ".join((*COMPARISONS, "$ne", "$in", "$nin", "$exists", "$not"))
        raise _wrong(at, f"is not known here; there are {known}")

    def _values(self, given: list[Any], at: str) -> tuple[Value, ...]:
        self._comparisons += len(given)
        if self._comparisons > MAX_COMPARISONS:
            raise _wrong(
                at,
                f"makes {self._comparisons} comparisons; a filter has at most {MAX_COMPARISONS}, "
                "and each value of $in and $nin is one",
            )
        return tuple(_value(one, at) for one in given)


def _value(given: Any, at: str) -> Value:
    if given is None:
        raise _wrong(at, 'null is no value to compare with; {"$exists": false} finds pictures without the field')
    if not isinstance(given, str | int | float):
        raise _wrong(at, "must be a text, a number, true or false")
    return given


def _wrong(at: str, reason: str) -> InvalidInputError:
    return InvalidInputError("filter", f"{at} {reason}" if at else reason)
