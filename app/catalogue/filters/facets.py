"""What can be filtered by: the labels and fields that pictures have, with how many have what.

One statement counts everything in one look at the pictures. It groups them by name and value, where PostgreSQL bounds
its memory by `work_mem` and goes to disk beyond that, so a field that is different for each picture costs no memory
here or there; only what is shown leaves the database.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import Numeric, Select, Text, and_, case, cast, column, false, func, literal, select, true
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import CTE, FromClause, Subquery

from app.catalogue.database.sessions import Database
from app.catalogue.database.single_flight import Remembered
from app.catalogue.database.tables import Picture
from app.catalogue.filters.sql import Condition, passes
from app.catalogue.queries import last_change
from app.search.filter import Filter

Kind = Literal["text", "number", "boolean", "other"]

MOST_VALUES, MOST_FIELDS = 50, 50
# Longer names, labels and values are counted and not shown: fifty pages of text for each field are no choice.
LONGEST = 512
_MOST_KNOWN = 16
_KINDS: dict[str, Kind] = {"string": "text", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True)
class Count:
    """A value, and how many pictures have it."""

    value: str | float | bool
    count: int


@dataclass(frozen=True)
class Field:
    """A field of the metadata.

    Attributes:
        name: of the field.
        type: what its values are; `other` where they are lists, objects, or of several kinds.
        count: how many pictures have it.
        values: the most frequent that are no longer than `LONGEST`, at most `MOST_VALUES`; none for `other`.
        distinct: how many different values there are.
        min, max: of numbers.
    """

    name: str
    type: Kind
    count: int
    values: list[Count]
    distinct: int
    min: float | None = None
    max: float | None = None


@dataclass(frozen=True)
class Facets:
    """The most frequent labels and fields, the most frequent first."""

    labels: list[Count]
    fields: list[Field]


class FacetCounts:
    """Counts, once for all who ask at the same time, and remembers what it counted for as long as nothing changes."""

    def __init__(self) -> None:
        # By the last change, a label and a filter.
        self._counts: Remembered[tuple[int, str | None, Filter | None], Facets] = Remembered(_MOST_KNOWN)

    def of(self, database: Database, label: str | None, filter_: Filter | None) -> Facets:
        """Returns the facets of the pictures that have a label and pass a filter, each where it is given."""
        with database.asking() as session:
            seq = last_change(session)
        return self._counts.get((seq, label, filter_), lambda: _counted_now(database, passes(label, filter_)))


def _counted_now(database: Database, passing: Condition) -> Facets:
    with database.scanning() as session:
        return count(session, passing)


def count(session: Session, passing: Condition) -> Facets:
    """Counts labels and fields of the pictures that fulfil a condition."""
    labels, fields = list[Count](), list[Field]()
    rows = session.execute(_statement(passing)).all()
    for (labelled, name), group in groupby(rows, key=lambda row: (row.labelled, row.name)):
        some = list(group)
        values = [Count(row.value, row.pictures) for row in some if row.pictures is not None]
        if labelled:
            labels = values
        else:
            fields.append(_field(name, some[0], values))
    # Without labels there is room for one more.
    return Facets(labels, fields[:MOST_FIELDS])


def _field(name: str, row: Any, values: list[Count]) -> Field:
    only = _KINDS.get(row.kind, "other") if row.kind == row.other_kind else "other"
    ends = (float(row.least), float(row.most)) if only == "number" else (None, None)
    return Field(name, only, int(row.total), values, row.distinct, *ends)


def _statement(passing: Condition) -> Select[Any]:
    """Returns a row for each value that is shown, in the order of showing; one without a value where there is none."""
    counted = _counted(passing)
    fields = _most_frequent(counted)
    shown = _shown_values(counted, fields)
    return (
        select(fields, shown.c.value, shown.c.pictures)
        .select_from(fields)
        .outerjoin(shown, true())
        .order_by(
            fields.c.labelled.desc(), fields.c.total.desc(), fields.c.name, shown.c.pictures.desc(), shown.c.value
        )
    )


def _counted(passing: Condition) -> CTE:
    """Counts the pictures of each name and value; labels are values of a name of their own."""
    name, value = column("name", Text), column("value", JSONB)
    each = func.jsonb_each(Picture.metadata_).table_valued(name, value, name="each").render_derived()
    of_fields = select(false().label("labelled"), each.c.name, each.c.value).correlate(Picture)
    label = select(true(), literal("", Text), func.to_jsonb(Picture.label)).where(Picture.label.is_not(None))
    entry = of_fields.union_all(label.correlate(Picture)).lateral("entry")
    names = (entry.c.labelled, entry.c.name, entry.c.value)
    return (
        select(*names, func.count().label("pictures"))
        .select_from(Picture)
        .join(entry, true())
        .where(passing, func.char_length(entry.c.name) <= LONGEST)
        .group_by(*names)
        .cte("counted")
        .prefix_with("MATERIALIZED", dialect="postgresql")
    )


def _most_frequent(counted: CTE) -> Subquery:
    """Returns the labels together, and the most frequent fields."""
    names, total = (counted.c.labelled, counted.c.name), func.sum(counted.c.pictures).label("total")
    kind = func.jsonb_typeof(counted.c.value, type_=Text)
    # CASE, because only numbers may be read as numbers.
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
        .order_by(counted.c.labelled.desc(), total.desc(), counted.c.name)
        .limit(1 + MOST_FIELDS)
        .subquery("fields")
    )


def _shown_values(counted: CTE, fields: Subquery) -> FromClause:
    """Returns a field's most frequent values, where all are of one kind that can be shown.

    For each field apart, because the first few of many are found without sorting all.
    """
    one_kind = and_(fields.c.kind == fields.c.other_kind, fields.c.kind.in_(_KINDS))
    words = counted.c.value.op("#>>")(literal([], ARRAY(Text)))
    return (
        select(counted.c.value, counted.c.pictures)
        .where(one_kind, counted.c.labelled == fields.c.labelled, counted.c.name == fields.c.name)
        .where(func.char_length(words) <= LONGEST)
        .order_by(counted.c.pictures.desc(), counted.c.value)
        .limit(MOST_VALUES)
        .lateral("shown")
    )
