"""What can be filtered by: the labels and fields that pictures have, with how many have what."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Numeric, Text, case, cast, column, func, select, true
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import Session

from app.catalogue.conditions import Condition, passes
from app.catalogue.queries import last_change
from app.catalogue.tables import Picture

Kind = Literal["text", "number", "boolean", "other"]

MOST_VALUES, MOST_FIELDS = 50, 50
_MOST_KNOWN = 16
_KINDS: dict[str, Kind] = {"string": "text", "number": "number", "boolean": "boolean"}


@dataclass(frozen=True)
class Count:
    """A value, and how many pictures have it."""

    value: str | float | bool
    pictures: int


@dataclass(frozen=True)
class Field:
    """A field of the metadata.

    Attributes:
        name: of the field.
        kind: what its values are; `other` where they are lists, objects, or of several kinds.
        pictures: how many have it.
        values: the most frequent, at most `MOST_VALUES`; none for `other`.
        distinct: how many different values there are.
        least, most: of numbers.
    """

    name: str
    kind: Kind
    pictures: int
    values: list[Count]
    distinct: int
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True)
class Facets:
    """The most frequent labels and fields, the most frequent first."""

    labels: list[Count]
    fields: list[Field]


class FacetCounts:
    """Counts, and remembers what it counted for as long as nothing changes: it is a look at every picture."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[int, str | None, str | None], Facets] = OrderedDict()

    def of(self, session: Session, label: str | None, filter_: str | None) -> Facets:
        """Returns the facets of the pictures that have a label and pass a filter, each where it is given."""
        asked = last_change(session), label, filter_
        found = self._known.get(asked)
        if found is None:
            passing = passes(label, filter_)
            found = self._known[asked] = Facets(_labels(session, passing), _fields(session, passing))
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return found


def _labels(session: Session, passing: Condition) -> list[Count]:
    pictures = func.count()
    query = select(Picture.label, pictures).where(Picture.label.is_not(None), passing).group_by(Picture.label)
    found = session.execute(query.order_by(pictures.desc(), Picture.label).limit(MOST_VALUES))
    return [Count(str(label), count) for label, count in found]


def _fields(session: Session, passing: Condition) -> list[Field]:
    name, value = column("name", Text), column("value", JSONB)
    entry = func.jsonb_each(Picture.fields).table_valued(name, value).render_derived().lateral()
    kind, pictures = func.jsonb_typeof(entry.c.value), func.count()
    # CASE, because only numbers may be read as numbers.
    number = case((kind == "number", cast(entry.c.value, Numeric)))
    query = (
        select(
            entry.c.name,
            pictures,
            func.array_agg(func.distinct(kind), type_=ARRAY(Text)),
            func.count(func.distinct(entry.c.value)),
            func.min(number),
            func.max(number),
        )
        .select_from(Picture)
        .join(entry, true())
        .where(passing)
        .group_by(entry.c.name)
        .order_by(pictures.desc(), entry.c.name)
        .limit(MOST_FIELDS)
    )
    found = []
    for field, count, kinds, distinct, least, most in session.execute(query).all():
        only = _KINDS.get(kinds[0], "other") if len(kinds) == 1 else "other"
        values = [] if only == "other" else _values(session, passing, field)
        ends = (float(least), float(most)) if only == "number" else (None, None)
        found.append(Field(field, only, count, values, distinct, *ends))
    return found


def _values(session: Session, passing: Condition, field: str) -> list[Count]:
    value, pictures = Picture.fields[field], func.count()
    query = select(value, pictures).where(Picture.fields.has_key(field), passing).group_by(value)
    return [Count(*row) for row in session.execute(query.order_by(pictures.desc(), value).limit(MOST_VALUES))]
