"""Selections of images: which ones a change of many, or an export, is about."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ARRAY, BigInteger, Text, and_, any_, literal, select, true
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import Condition, filter_condition
from app.common.unicode_names import nfc
from app.errors import InvalidInputError, SelectionChangedError
from app.search.filter import Filter
from app.search.words import TextQuery

# Maximum number of images of one change, which holds the catalogue's lock for about 10 s.
MAX_SELECTED = 100_000


@dataclass(frozen=True)
class Selection:
    """Images that meet all of the given conditions; without any, all images.

    Attributes:
        ids, keys: they are these.
        label: they have this label.
        filter: they match this filter.
        words: they have these words.
    """

    ids: Collection[int] | None = None
    keys: Collection[str] | None = None
    label: str | None = None
    filter: Filter | None = None
    words: TextQuery | None = None

    @property
    def condition(self) -> Condition:
        """The condition in SQL."""
        return and_(
            true() if self.ids is None else among_ids(Image.id, self.ids),
            true() if self.keys is None else Image.key == any_(literal(self._stored_keys(), ARRAY(Text))),
            filter_condition(self.label, self.filter, self.words),
        )

    def missing(self, session: Session) -> list[str]:
        """List the ids and keys that no image has, ids first, in ascending order."""
        ids, keys = set(self.ids or ()), set(self._stored_keys())
        if ids:
            ids -= set(session.scalars(select(Image.id).where(among_ids(Image.id, ids))))
        if keys:
            keys -= set(session.scalars(select(Image.key).where(Image.key == any_(literal(sorted(keys), ARRAY(Text))))))
        return [*map(str, sorted(ids)), *sorted(keys)]

    def _stored_keys(self) -> list[str]:
        return sorted({nfc(key) for key in self.keys or ()})


def select_images(session: Session, selection: Selection, expected: int) -> list[int]:
    """Return the ids of the selected images, ascending.

    Args:
        session: a transaction that holds the catalogue's row lock, so that the selection stays as it is.
        selection: which images.
        expected: their number.

    Raises:
        InvalidInputError: they are more than `MAX_SELECTED`.
        SelectionChangedError: an id or a key does not exist, or their number is not the expected one.
    """
    missing = selection.missing(session)
    query = select(Image.id).where(selection.condition).order_by(Image.id).limit(MAX_SELECTED + 1)
    ids = list(session.scalars(query))
    if len(ids) > MAX_SELECTED:
        raise InvalidInputError("filter", f"matches more than {MAX_SELECTED:,} images. Narrow it, and send several")
    if missing or len(ids) != expected:
        raise SelectionChangedError(expected, len(ids), missing)
    return ids


def among_ids(column: InstrumentedAttribute[int], ids: Collection[int]) -> Condition:
    """Build the condition that a column is one of some ids, with one array parameter."""
    return column == any_(literal(list(ids), ARRAY(BigInteger)))
