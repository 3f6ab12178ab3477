"""Parse metadata filters into an expression tree.

A filter is JSON with MongoDB's operators, as in Pinecone and Chroma:
`{"price": {"$lte": 50}, "colour": {"$in": ["red", "blue"]}}`. Fields are those of an image's metadata, plus `label`
and `key`. `app/catalogue/filters/sql.py` compiles the tree to SQL.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.common.json_values import RepeatedNameError, parse_json
from app.errors import InvalidInputError

# A test is evaluated for every image; each value that a test compares with counts as one comparison.
MAX_TESTS, MAX_COMPARISONS, MAX_DEPTH = 64, 256, 16
COMPARISONS = {"$eq": "==", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}

Value = str | float | bool


@dataclass(frozen=True)
class Comparison:
    """The field, or an element of its list, compares (by `sign`) with any of the values."""

    field: str
    sign: str
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Exists:
    """The field is present."""

    field: str


@dataclass(frozen=True)
class Not:
    """The test fails."""

    test: "Test"


@dataclass(frozen=True)
class AllOf:
    """Every test passes; true for no tests."""

    tests: "tuple[Test, ...]"


@dataclass(frozen=True)
class AnyOf:
    """At least one test passes."""

    tests: "tuple[Test, ...]"


Test = Comparison | Exists | Not | AllOf | AnyOf


@dataclass(frozen=True)
class Filter:
    """A parsed filter.

    Equality compares only the text: trees would compare wrongly, because 1, 1.0 and true are equal in Python.

    Attributes:
        text: JSON source.
        test: expression that matching images pass.
        fields: names of the fields used.
    """

    text: str
    test: Test = field(compare=False)
    fields: tuple[str, ...] = field(compare=False, default=())


def parse_filter(text: str) -> Filter:
    """Parse a filter from JSON.

    Raises:
        InvalidInputError: the text is not a valid filter; the reason includes the path of the invalid part.
    """
    try:
        parsed = parse_json(text)
    except RepeatedNameError as error:
        raise _invalid(error.name, "occurs twice in one object. Combine its conditions with $and or $in") from error
    except (ValueError, RecursionError) as error:
        raise _invalid("", f"is not valid JSON: {error}") from error
    parser = _Parser()
    return Filter(text, parser.all_of(parsed, ""), tuple(parser.fields))


class _Parser:
    """Parses one filter, and counts its tests and comparisons."""

    def __init__(self) -> None:
        self._tests = self._comparisons = self._depth = 0
        self.fields: list[str] = []

    def all_of(self, value: Any, path: str) -> Test:
        """Parse an object, all entries of which must pass."""
        if not isinstance(value, dict):
            raise _invalid(path, 'must be an object, such as {"price": {"$lte": 50}}')
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _invalid(path, f"is nested more than {MAX_DEPTH} levels deep")
        tests = [self._entry(name, entry, f"{path}.{name}" if path else name) for name, entry in value.items()]
        self._depth -= 1
        return AllOf(tuple(tests))

    def _entry(self, name: str, value: Any, path: str) -> Test:
        if name in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise _invalid(path, "must be a list of at least one filter")
            tests = tuple(self.all_of(part, f"{path}[{number}]") for number, part in enumerate(value))
            return AllOf(tests) if name == "$and" else AnyOf(tests)
        if name == "$not":
            return Not(self.all_of(value, path))
        if name.startswith("$"):
            raise _invalid(path, "is not an operator for filters. Use $and, $or or $not.")
        return self._field(name, value if isinstance(value, dict) else {"$eq": value}, path)

    def _field(self, name: str, tests: Mapping[str, Any], path: str) -> Test:
        self.fields.append(name)
        if not tests:
            raise _invalid(path, 'is empty. Give a value, or an operator such as {"$lte": 50}.')
        parsed = (self._test(name, operator, operand, f"{path}.{operator}") for operator, operand in tests.items())
        return AllOf(tuple(parsed))

    def _test(self, name: str, operator: str, operand: Any, path: str) -> Test:
        self._tests += 1
        if self._tests > MAX_TESTS:
            raise _invalid(path, f"is one test too many. A filter has at most {MAX_TESTS} tests.")
        if operator in COMPARISONS:
            return Comparison(name, COMPARISONS[operator], self._values([operand], path))
        if operator == "$ne":
            return Not(Comparison(name, "==", self._values([operand], path)))
        if operator in ("$in", "$nin"):
            if not isinstance(operand, list):
                raise _invalid(path, "must be a list of values")
            compares = Comparison(name, "==", self._values(operand, path))
            return compares if operator == "$in" else Not(compares)
        if operator == "$exists":
            if not isinstance(operand, bool):
                raise _invalid(path, "must be true or false")
            return Exists(name) if operand else Not(Exists(name))
        if operator == "$not" and isinstance(operand, dict):
            return Not(self._field(name, operand, path))
        known = ", ".join((*COMPARISONS, "$ne", "$in", "$nin", "$exists", "$not"))
        raise _invalid(path, f"is not a known operator. Use one of {known}.")

    def _values(self, operands: list[Any], path: str) -> tuple[Value, ...]:
        self._comparisons += len(operands)
        if self._comparisons > MAX_COMPARISONS:
            raise _invalid(
                path,
                f"brings the filter to {self._comparisons} comparisons; at most {MAX_COMPARISONS} are allowed. Each "
                "value of $in and $nin counts as one.",
            )
        return tuple(_value(operand, path) for operand in operands)


def _value(operand: Any, path: str) -> Value:
    if operand is None:
        raise _invalid(path, 'must not be null. To find images without the field, use {"$exists": false}.')
    if not isinstance(operand, str | int | float):
        raise _invalid(path, "must be a string, a number, true or false")
    return operand


def _invalid(path: str, reason: str) -> InvalidInputError:
    return InvalidInputError("filter", f"{path} {reason}" if path else reason)
