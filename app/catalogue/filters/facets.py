"""Facets: counts of labels, metadata fields and their values, over the images that match a filter.

One statement counts everything in one scan of the images. It groups by name and value; PostgreSQL bounds the memory for
this by `work_mem` and spills to disk, so a field with a different value in each image needs no extra memory. Only the
most frequent values leave the database.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import Numeric, Select, Text, and_, case, cast, column, false, func, literal, select, true
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import CTE, FromClause, Subquery

from app.catalogue.database.sessions import Database
from app.catalogue.database.single_flight import ResultCache
from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import JSON_NULL, Condition, filter_condition
from app.catalogue.queries import last_seq
from app.common.json_values import normalise_number, normalise_numbers
from app.search.filter import Filter
from app.search.words import TextQuery

Kind = Literal["text", "number", "boolean", "other"]

MAX_VALUES, MAX_FIELDS = 50, 50
# Longer names, labels and values are counted but not returned, to bound the size of the response.
MAX_LENGTH = 512
_MAX_CACHED = 16
_KINDS: dict[str, Kind] = {"string": "text", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True)
class Count:
    """A value, and the number of images that have it."""

    value: str | int | float | bool
    count: int


@dataclass(frozen=True)
class Field:
    """Facets of a metadata field.

    Attributes:
        name: the field's name.
        type: type of its values; `other` for lists, objects, and mixed types.
        count: number of images that have the field.
        values: the most frequent values no longer than `MAX_LENGTH`, at most `MAX_VALUES`; empty for `other`.
        distinct: number of distinct values.
        min, max: range of the values, for numbers.
    """

    name: str
    type: Kind
    count: int
    values: list[Count]
    distinct: int
    min: int | float | None = None
    max: int | float | None = None


@dataclass(frozen=True)
class Facets:
    """The most frequent labels and fields, in descending order of frequency."""

    labels: list[Count]
    fields: list[Field]


class FacetCache:
    """Facet counts, computed once for concurrent requests and cached until the catalogue changes."""

    def __init__(self) -> None:
        # By seq, label, filter and words.
        self._counts: ResultCache[tuple[int, str | None, Filter | None, TextQuery | None], Facets]
        self._counts = ResultCache(_MAX_CACHED)

    def get(
        self, database: Database, label: str | None, filter_: Filter | None, words: TextQuery | None = None
    ) -> Facets:
        """Return the facets of the images that match a label, a filter and words, each optional."""
        with database.read_session() as session:
            seq = last_seq(session)
        key = seq, label, filter_, words
        return self._counts.get(key, lambda: _count_now(database, filter_condition(label, filter_, words)))


def _count_now(database: Database, condition: Condition) -> Facets:
    with database.scan_session() as session:
        return count_facets(session, condition)


def count_facets(session: Session, condition: Condition) -> Facets:
    """Count labels and fields of the images that meet a condition."""
    labels, fields = list[Count](), list[Field]()
    rows = session.execute(_facet_query(condition)).all()
    for (is_label, name), group in groupby(rows, key=lambda row: (row.is_label, row.name)):
        some = list(group)
        values = [Count(normalise_numbers(row.value), row.images) for row in some if row.images is not None]
        if is_label:
            labels = values
        else:
            fields.append(_field(name, some[0], values))
    # The limit includes a row for labels, which may be missing.
    return Facets(labels, fields[:MAX_FIELDS])


def _field(name: str, row: Any, values: list[Count]) -> Field:
    kind = _KINDS.get(row.kind, "other") if row.kind == row.other_kind else "other"
    value_range = (normalise_number(row.least), normalise_number(row.most)) if kind == "number" else (None, None)
    return Field(name, kind, int(row.total), values, row.distinct, *value_range)


def _facet_query(condition: Condition) -> Select[Any]:
    """Build the statement: one row per returned value, in output order; a field without values has one row."""
    counted = _counted(condition)
    fields = _most_frequent(counted)
    shown = _shown_values(counted, fields)
    return (
        select(fields, shown.c.value, shown.c.images)
        .select_from(fields)
        .outerjoin(shown, true())
        .order_by(fields.c.is_label.desc(), fields.c.total.desc(), fields.c.name, shown.c.images.desc(), shown.c.value)
    )


def _counted(condition: Condition) -> CTE:
    """Count the images by field name and value; labels count as values of a separate name."""
    name, value = column("name", Text), column("value", JSONB)
    each = func.jsonb_each(Image.metadata_).table_valued(name, value, name="each").render_derived()
    of_fields = select(false().label("is_label"), each.c.name, each.c.value).correlate(Image)
    label = select(true(), literal("", Text), func.to_jsonb(Image.label)).where(Image.label.is_not(None))
    entry = of_fields.union_all(label.correlate(Image)).lateral("entry")
    names = (entry.c.is_label, entry.c.name, entry.c.value)
    return (
        select(*names, func.count().label("images"))
        .select_from(Image)
        .join(entry, true())
        .where(condition, func.char_length(entry.c.name) <= MAX_LENGTH, entry.c.value != JSON_NULL)
        .group_by(*names)
        .cte("counted")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def _most_frequent(counted: CTE) -> Subquery:
    """Select the labels as one field, and the most frequent metadata fields."""
    names, total = (counted.c.is_label, counted.c.name), func.sum(counted.c.images).label("total")
    kind = func.jsonb_typeof(counted.c.value, type_=Text)
    # CASE, because casting other values fails.
    number = case((kind == "number", cast(counted.c.value, Numeric)))
    of_values = (
        func.count().label("distinct"),
        func.min(kind).label("kind"),
        func.max(kind).label("other_kind"),
        func.min(number).label("least"),
        func.max(number).label("most"),
    )
    return (
        select(*names, total, *of_values)
        .group_by(*names)
        .order_by(counted.c.is_label.desc(), total.desc(), counted.c.name)
        .limit(1 + MAX_FIELDS)
        .subquery("fields")
    )


def _shown_values(counted: CTE, fields: Subquery) -> FromClause:
    """Select a field's most frequent values, if all have one supported type.

    A lateral subquery per field, because finding the first few of many values does not need a full sort.
    """
    one_kind = and_(fields.c.kind == fields.c.other_kind, fields.c.kind.in_(_KINDS))
    value_as_text = counted.c.value.op("#>>")(literal([], ARRAY(Text)))
    return (
        select(counted.c.value, counted.c.images)
        .where(one_kind, counted.c.is_label == fields.c.is_label, counted.c.name == fields.c.name)
        .where(func.char_length(value_as_text) <= MAX_LENGTH)
        .order_by(counted.c.images.desc(), counted.c.value)
        .limit(MAX_VALUES)
        .lateral("shown")
    )
