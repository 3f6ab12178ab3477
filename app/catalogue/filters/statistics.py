"""Statistics of the catalogue, and fields of a filter that no image has.

Each needs a full scan, so it is computed once for concurrent requests and cached until the catalogue changes.
"""

from collections.abc import Sequence

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session, aliased

from app.catalogue.database.sessions import Database
from app.catalogue.database.single_flight import ResultCache
from app.catalogue.database.tables import Image
from app.catalogue.filters.sql import filter_condition, has_field
from app.catalogue.filters.unknown_words import unknown_word_warnings
from app.catalogue.queries import Totals, count_images, last_seq, totals
from app.common.unicode_names import nfc
from app.search.filter import Filter
from app.search.words import TextQuery

_MAX_CACHED = 64
# Images to search for a field first; most existing fields occur among them, which avoids a full scan.
_SAMPLE_IMAGES = 1000


class CatalogueStatistics:
    """Cached statistics and unknown fields of one catalogue. Thread-safe."""

    def __init__(self) -> None:
        self._totals: ResultCache[int, Totals] = ResultCache(1)
        # By seq, label, filter and words.
        self._counts: ResultCache[tuple[int, str | None, Filter | None, TextQuery | None], int]
        self._counts = ResultCache(_MAX_CACHED)
        self._unknown_words: ResultCache[tuple[int, tuple[str, ...]], list[str]] = ResultCache(_MAX_CACHED)
        self._unknown: ResultCache[tuple[int, tuple[str, ...]], tuple[str, ...]] = ResultCache(_MAX_CACHED)

    def totals(self, database: Database) -> Totals:
        """Return the catalogue statistics."""

        def compute() -> Totals:
            with database.scan_session() as session:
                return totals(session)

        return self._totals.get(_seq(database), compute)

    def count(self, database: Database, label: str | None, filter_: Filter | None, words: TextQuery | None) -> int:
        """Return the number of images that match a label, a filter and words, each optional."""

        def compute() -> int:
            with database.scan_session() as session:
                return count_images(session, filter_condition(label, filter_, words))

        return self._counts.get((_seq(database), label, filter_, words), compute)

    def unknown_filter_warnings(
        self, database: Database, label: str | None, filter_: Filter | None, words: TextQuery | None = None
    ) -> list[str]:
        """Return a warning for the label, each field and each word that no image has, such as misspelt ones."""
        fields = tuple(dict.fromkeys(filter_.fields)) if filter_ is not None else ()
        warnings = []
        if label is not None and not _has_label(database, label):
            warnings.append(f"No image has the label {label!r}.")
        if fields:
            unknown = self._unknown.get((_seq(database), fields), lambda: _unknown_fields(database, fields))
            warnings += [f"No image has the field {name!r}." for name in unknown]
        if words is not None and words.words:
            key = _seq(database), words.words
            warnings += self._unknown_words.get(key, lambda: _unknown_words(database, words.words))
        return warnings


def _seq(database: Database) -> int:
    with database.read_session() as session:
        return last_seq(session)


def _has_label(database: Database, label: str) -> bool:
    with database.read_session() as session:
        return bool(session.scalar(select(exists().where(Image.label == nfc(label)))))


def _unknown_words(database: Database, words: Sequence[str]) -> list[str]:
    with database.scan_session() as session:
        return unknown_word_warnings(session, words)


def _unknown_fields(database: Database, names: Sequence[str]) -> tuple[str, ...]:
    """Return the fields that no image has; scan a sample first, and all images only if some are still missing."""
    with database.scan_session() as session:
        missing = _missing(session, names, _SAMPLE_IMAGES)
        return tuple(_missing(session, missing, None)) if missing else ()


def _missing(session: Session, names: Sequence[str], limit: int | None) -> list[str]:
    sample = aliased(Image, select(Image).limit(limit).subquery())
    found = select(*(func.bool_or(has_field(name, sample)) for name in names)).select_from(sample)
    return [name for name, present in zip(names, session.execute(found).one(), strict=True) if not present]
