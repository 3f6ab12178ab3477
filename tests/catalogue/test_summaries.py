"""Catalogue statistics and unknown fields, and the number of scans for them."""

from typing import Any

import pytest
from sqlalchemy import event, insert, text

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.filters import statistics as module
from app.catalogue.filters.statistics import CatalogueStatistics
from app.search.filter import parse_filter

BASE = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 7}


def fill(database: Database, *pictures: dict[str, Any]) -> None:
    with database.transaction() as session:
        rows = [BASE | {"label": None, "metadata_": {}} | one for one in pictures]
        session.execute(insert(Image), rows)
        session.execute(text("UPDATE catalogue SET seq = seq + 1"))


class Scans:
    """Counts the statements that read images."""

    def __init__(self, database: Database) -> None:
        self.count = 0
        event.listen(database.engine, "before_cursor_execute", self._note)

    def _note(self, *call: Any) -> None:
        self.count += "FROM images" in call[2]


def test_unknown_labels_and_fields_are_named(database: Database) -> None:
    summaries = CatalogueStatistics()
    fill(database, {"key": "a", "label": "boots", "metadata_": {"price": 5}})
    passing = parse_filter('{"price": {"$gt": 9}, "label": "boots", "key": "b"}')
    assert summaries.unknown_filter_warnings(database, "boots", passing) == []
    warnings = summaries.unknown_filter_warnings(
        database, "hats", parse_filter('{"$or": [{"prize": 5}, {"price": 9}, {"prize": 6}]}')
    )
    assert warnings == ["No image has the label 'hats'.", "No image has the field 'prize'."]
    assert summaries.unknown_filter_warnings(database, None, None) == []


def test_label_field_is_named_if_no_image_has_a_label(database: Database) -> None:
    warnings = parse_filter('{"label": "boots", "key": "a"}')
    assert len(CatalogueStatistics().unknown_filter_warnings(database, None, warnings)) == 2
    fill(database, {"key": "a"})
    assert CatalogueStatistics().unknown_filter_warnings(database, None, warnings) == [
        "No image has the field 'label'."
    ]


def test_many_unknown_fields_cost_one_full_scan(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAMPLE_IMAGES", 2)
    fill(database, *({"key": str(number), "metadata_": {"common": 1}} for number in range(9)))
    fill(database, {"key": "last", "metadata_": {"common": 1, "rare": 1}})
    names = {"common": 1, "rare": 1} | {f"misspelt {number}": 1 for number in range(30)}
    filter_, summaries, scans = parse_filter(str(names).replace("'", '"')), CatalogueStatistics(), Scans(database)
    for _ in range(3):
        assert len(summaries.unknown_filter_warnings(database, None, filter_)) == 30
    assert scans.count == 2, "a sample, then all images, then cached"
    assert summaries.unknown_filter_warnings(database, None, parse_filter('{"common": 2}')) == []
    assert scans.count == 3, "fields in the sample need no full scan"


def test_totals_are_cached_until_a_change(database: Database) -> None:
    summaries, scans = CatalogueStatistics(), Scans(database)
    fill(database, {"key": "a", "label": "boots"}, {"key": "b", "label": "boots"})
    totals = [summaries.totals(database) for _ in range(3)]
    assert (totals[0].images, totals[0].labels, totals[0].original_bytes, totals[0].seq) == (2, 1, 14, 1)
    assert totals == 3 * [totals[0]]
    assert scans.count == 1
    fill(database, {"key": "c"})
    assert summaries.totals(database).images == 3
