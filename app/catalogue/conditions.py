"""What a search's `filter` says, as a condition in SQL.

A filter is JSON in the words of MongoDB, which users of Pinecone and Chroma know:
`{"price": {"$lte": 50}, "colour": {"$in": ["red", "blue"]}}`. Fields are those of a picture's metadata, and its
`label` and `key`. Where a field holds a list, it passes if any of its elements does. `$ne`, `$nin` and `$not` are the
opposite of what they deny, so pictures without the field pass them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, cast, false, func, not_, or_, true
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH

from app.catalogue.tables import Picture
from app.errors import InvalidInputError
from app.storable import check_json

Condition = ColumnElement[bool]

MOST_TESTS, DEEPEST = 64, 16
COMPARISONS = {"$eq": "==", "$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}
COLUMNS = {"label": Picture.label, "key": Picture.key}


@dataclass(frozen=True)
class Filter:
    """A filter that was read: which pictures pass, and the fields that it names."""

    condition: Condition
    fields: tuple[str, ...] = ()


def read_filter(given: str) -> Filter:
    """Reads a filter.

    Raises:
        InvalidInputError: the text is no filter; the error says where and why.
    """
    try:
        parsed = check_json(json.loads(given))
    except (ValueError, RecursionError) as error:
        raise _wrong("", f"is not JSON: {error}") from error
    reader = _Reader()
    return Filter(reader.all_of(parsed, ""), tuple(reader.fields))


def passes(label: str | None, filter_: str | None) -> Condition:
    """Returns which pictures have a label and pass a filter, each where it is given."""
    labelled = true() if label is None else Picture.label == label
    return and_(labelled, true() if filter_ is None else read_filter(filter_).condition)


def has_field(name: str) -> Condition:
    """Returns which pictures have a field."""
    column = COLUMNS.get(name)
    return Picture.fields.has_key(name) if column is None else column.is_not(None)


class _Reader:
    """Reads one filter, and counts what is in it: every test costs a look at every picture."""

    def __init__(self) -> None:
        self._tests = self._depth = 0
        self.fields: list[str] = []

    def all_of(self, given: Any, at: str) -> Condition:
        """Reads an object: every entry must pass."""
        if not isinstance(given, dict):
            raise _wrong(at, 'must be an object, such as {"price": {"$lte": 50}}')
        self._depth += 1
        if self._depth > DEEPEST:
            raise _wrong(at, f"lies more than {DEEPEST} deep")
        read = [self._entry(name, value, f"{at}.{name}" if at else name) for name, value in given.items()]
        self._depth -= 1
        return and_(true(), *read)

    def _entry(self, name: str, value: Any, at: str) -> Condition:
        if name in ("$and", "$or"):
            if not isinstance(value, list) or not value:
                raise _wrong(at, "must be a list of filters, at least one")
            read = [self.all_of(part, f"{at}[{number}]") for number, part in enumerate(value)]
            return and_(*read) if name == "$and" else or_(*read)
        if name == "$not":
            return not_(self.all_of(value, at))
        if name.startswith("$"):
            raise _wrong(at, "is not known here; between fields there are $and, $or and $not")
        tests = value if isinstance(value, dict) else {"$eq": value}
        return self._field(name, tests, at)

    def _field(self, name: str, tests: Mapping[str, Any], at: str) -> Condition:
        self.fields.append(name)
        if not tests:
            raise _wrong(at, 'says nothing; give a value, or an operator such as {"$lte": 50}')
        return and_(*(self._test(name, operator, operand, f"{at}.{operator}") for operator, operand in tests.items()))

    def _test(self, name: str, operator: str, operand: Any, at: str) -> Condition:
        self._tests += 1
        if self._tests > MOST_TESTS:
            raise _wrong(at, f"is one test too many; a filter has at most {MOST_TESTS}")
        if operator in COMPARISONS:
            return _compares(name, COMPARISONS[operator], _value(operand, at))
        if operator == "$ne":
            return not_(_compares(name, "==", _value(operand, at)))
        if operator == "$exists":
            if not isinstance(operand, bool):
                raise _wrong(at, "must be true or false")
            return has_field(name) if operand else not_(has_field(name))
        if operator in ("$in", "$nin"):
            if not isinstance(operand, list) or len(operand) > MOST_TESTS:
                raise _wrong(at, f"must be a list of at most {MOST_TESTS} values")
            found = or_(false(), *(_compares(name, "==", _value(one, at)) for one in operand))
            return found if operator == "$in" else not_(found)
        if operator == "$not" and isinstance(operand, dict):
            return not_(self._field(name, operand, at))
        known = ", ".join((*COMPARISONS, "$ne", "$in", "$nin", "$exists", "$not"))
        raise _wrong(at, f"is not known here; there are {known}")


def _compares(name: str, sign: str, value: str | float | bool) -> Condition:
    """Returns where a field, or one of the elements of its list, compares so; never NULL, so that it can be denied.

    Values of different types never do: a text is neither more nor less than a number.
    """
    column = COLUMNS.get(name)
    found = Picture.fields[name] if column is None else func.to_jsonb(column)
    path, variables = cast(f"$[*] ? (@ {sign} $value)", JSONPATH), cast({"value": value}, JSONB)
    return func.coalesce(func.jsonb_path_exists(found, path, variables), false())


def _value(given: Any, at: str) -> str | float | bool:
    if given is None:
        raise _wrong(at, 'null is no value to compare with; {"$exists": false} finds pictures without the field')
    if not isinstance(given, str | int | float):
        raise _wrong(at, "must be a text, a number, true or false")
    return given


def _wrong(at: str, reason: str) -> InvalidInputError:
    return InvalidInputError("filter", f"{at} {reason}" if at else reason)
