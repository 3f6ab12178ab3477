"""Compile a search's filter to an SQL condition.

A list matches if any of its elements does. `$ne`, `$nin` and `$not` negate their operand, so images without the field
match them. Names and values are compared in normalisation form C, in which the catalogue stores text.
"""

from typing import Any

from sqlalchemy import ColumnElement, and_, cast, false, func, literal_column, not_, or_, text, true
from sqlalchemy.dialects.postgresql import JSONB, JSONPATH

from app.catalogue.database.tables import Image
from app.common.unicode_names import nfc, nfc_json
from app.search.filter import AllOf, AnyOf, Comparison, Exists, Filter, Not, Test
from app.search.words import TextQuery

Condition = ColumnElement[bool]

COLUMNS = ("label", "key")
# Earlier versions stored fields that are null; they count as missing.
JSON_NULL = text("'null'::jsonb")
_WORDS = Image.__table__.c.words
_SIMPLE: ColumnElement[str] = literal_column("'simple'::regconfig")


def filter_condition(label: str | None, filter_: Filter | None, words: TextQuery | None = None) -> Condition:
    """Build the condition for a label, a filter and words, each optional."""
    has_label = true() if label is None else Image.label == nfc(label)
    passes = true() if filter_ is None else _condition(filter_.test)
    return and_(has_label, passes, true() if words is None else has_words(words.query))


def has_words(query: str) -> Condition:
    """Build the condition that an image has the words of a text query (`TextQuery.query`)."""
    return _WORDS.bool_op("@@")(func.to_tsquery(_SIMPLE, func.lower(query)))


def has_field(name: str, pictures: type[Image] = Image) -> Condition:
    """Build the condition that an image has a field; `pictures` may be an alias of `Picture`."""
    return field_value(name, pictures).is_not(None)


def field_value(name: str, pictures: type[Image] = Image) -> ColumnElement[Any]:
    """Build the expression of a field's value: text for `label` and `key`, else jsonb; NULL if it is missing."""
    column: ColumnElement[Any] = getattr(pictures, name) if name in COLUMNS else pictures.metadata_[nfc(name)]
    return column if name in COLUMNS else func.nullif(column, JSON_NULL)


def _condition(test: Test) -> Condition:
    """Build the condition of a test; it is never NULL, so that it can be negated."""
    match test:
        case Comparison():
            return _comparison(test)
        case Exists():
            return has_field(test.field)
        case Not():
            return not_(_condition(test.test))
        case AllOf():
            return and_(true(), *map(_condition, test.tests))
        case AnyOf():
            return or_(false(), *map(_condition, test.tests))


def _comparison(test: Comparison) -> Condition:
    """Build a comparison of a field, or of any element of a list, with any of the values.

    Values of different types never match. All values go into one jsonpath test, because each test costs one evaluation
    per image.
    """
    value = func.to_jsonb(getattr(Image, test.field)) if test.field in COLUMNS else Image.metadata_[nfc(test.field)]
    path = cast(f"$[*] ? (@ {test.sign} $values[*])", JSONPATH)
    values = cast({"values": nfc_json(list(test.values))}, JSONB)
    return func.coalesce(func.jsonb_path_exists(value, path, values), false())
