"""Numbers in metadata: filters, groups and facets agree on which are equal."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, true

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.filters.facets import Count, Field, count_facets
from app.catalogue.filters.sql import filter_condition
from app.catalogue.queries import first_of_group
from app.common.json_values import normalise_metadata
from app.search.filter import parse_filter
from tests.numbers import NUMBERS, dumps

BASE = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1, "label": None}
# Few values, each in several forms, so that some of those drawn are equal.
VALUES = st.sampled_from([0, -0.0, 1, 1.0, True, False, "1", "1.0", 2**53, 2**53 + 1, 2.0**53, 1e22, 10**22]) | NUMBERS


@pytest.mark.parametrize("normalised", [True, False], ids=["stored", "stored by earlier versions"])
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=1, max_size=12))
def test_groups_filters_and_facets_agree(database: Database, normalised: bool, values: list[Any]) -> None:
    stored = [normalise_metadata({"value": value}) if normalised else {"value": value} for value in values]
    with database.transaction() as session:
        session.execute(delete(Image))
        rows = [BASE | {"key": str(number), "metadata_": metadata} for number, metadata in enumerate(stored)]
        ids = list(session.scalars(insert(Image).returning(Image.id, sort_by_parameter_order=True), rows))
    with database.read_connection() as connection:
        firsts = first_of_group(connection, ids, "value").tolist()
    by_group = [[image_id for image_id, first in zip(ids, firsts, strict=True) if first == own] for own in firsts]
    with database.read_session() as session:
        assert [filtered(session, value) for value in values] == by_group
        (field,) = count_facets(session, true()).fields
        assert (field.count, field.distinct) == (len(values), len(set(firsts)))
        for count in field.values:
            assert len(filtered(session, count.value)) == count.count


def filtered(session: Any, value: Any) -> list[int]:
    """Return the ids that pass a filter on the value."""
    passing = filter_condition(None, parse_filter(dumps({"value": value})))
    return list(session.scalars(select(Image.id).where(passing).order_by(Image.id)))


def test_facets_show_whole_numbers_as_such(database: Database) -> None:
    rows = [2020, 2020.0, 9007199254740993, 9007199254740992.0, -0.0, 0.5]
    with database.transaction() as session:
        session.execute(
            insert(Image),
            [BASE | {"key": str(number), "metadata_": {"value": value}} for number, value in enumerate(rows)],
        )
    with database.read_session() as session:
        (field,) = count_facets(session, true()).fields
    once = [(0, 1), (0.5, 1), (9007199254740992, 1), (9007199254740993, 1)]
    values = [Count(value, count) for value, count in [(2020, 2), *once]]
    assert field == Field("value", "number", 6, values, 5, 0, 9007199254740993)
    assert [type(count.value) for count in field.values] == [int, int, float, int, int]
    assert (type(field.min), type(field.max)) == (int, int)


def test_null_stored_by_earlier_versions_counts_as_missing(database: Database) -> None:
    rows = [{"value": None, "price": 1}, {"value": 5}, {}]
    with database.transaction() as session:
        ids = list(
            session.scalars(
                insert(Image).returning(Image.id, sort_by_parameter_order=True),
                [BASE | {"key": str(number), "metadata_": metadata} for number, metadata in enumerate(rows)],
            )
        )
    with database.read_session() as session:
        assert [field.name for field in count_facets(session, true()).fields] == ["price", "value"]
        for condition, passing in [('{"$exists": true}', ids[1:2]), ('{"$exists": false}', [ids[0], ids[2]])]:
            wanted = filter_condition(None, parse_filter(f'{{"value": {condition}}}'))
            assert list(session.scalars(select(Image.id).where(wanted).order_by(Image.id))) == passing
