"""What is said of the whole catalogue: its totals, and which names of a filter no picture has.

Each is a look at every picture, so it is worked out once for all who ask at the same time, and remembered for as long
as nothing changes.
"""

from collections.abc import Sequence

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from app.catalogue.database.sessions import Database
from app.catalogue.database.single_flight import Remembered
from app.catalogue.database.tables import Picture
from app.catalogue.filters.sql import has_field
from app.catalogue.queries import Totals, last_change, totals
from app.search.filter import Filter

_MOST_KNOWN = 64
# Most names that there are occur among so many pictures, and then no more are looked at.
_SAMPLE = 1000


class Summaries:
    """Totals and unknown names of one catalogue, by its last change. Safe for many threads."""

    def __init__(self) -> None:
        self._totals: Remembered[int, Totals] = Remembered(1)
        self._unknown: Remembered[tuple[int, tuple[str, ...]], tuple[str, ...]] = Remembered(_MOST_KNOWN)

    def totals(self, database: Database) -> Totals:
        """Returns the catalogue in numbers."""

        def counted() -> Totals:
            with database.scanning() as session:
                return totals(session)

        return self._totals.get(_seq(database), counted)

    def unknown(self, database: Database, label: str | None, filter_: Filter | None) -> list[str]:
        """Says in sentences what a label and a filter ask for that no picture has, such as a misspelt field."""
        fields = tuple(dict.fromkeys(filter_.fields)) if filter_ is not None else ()
        sentences = []
        if label is not None and not _has_label(database, label):
            sentences.append(f"No picture has the label {label!r}.")
        if fields:
            unknown = self._unknown.get((_seq(database), fields), lambda: _unknown_fields(database, fields))
            sentences += [f"No picture has the field {name!r}." for name in unknown]
        return sentences


def _seq(database: Database) -> int:
    with database.asking() as session:
        return last_change(session)


def _has_label(database: Database, label: str) -> bool:
    with database.asking() as session:
        return bool(session.scalar(select(exists().where(Picture.label == label))))


def _unknown_fields(database: Database, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the fields that no picture has: a look at some pictures, and one at all where names are still missing."""
    with database.scanning() as session:
        missing = _missing(session, names, _SAMPLE)
        return tuple(_missing(session, missing, None)) if missing else ()


def _missing(session: Session, names: Sequence[str], pictures: int | None) -> list[str]:
    some = aliased(Picture, select(Picture).limit(pictures).subquery())
    found = select(*(func.bool_or(has_field(name, some)) for name in names)).select_from(some)
    return [name for name, there in zip(names, session.execute(found).one(), strict=True) if not there]
