"""Facets, compared with counts in Python."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from sqlalchemy import event, insert, text

from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.filters.facets import (
    MAX_FIELDS,
    MAX_LENGTH,
    MAX_VALUES,
    Count,
    FacetCache,
    Facets,
    Field,
    count_facets,
)
from app.catalogue.filters.sql import filter_condition
from app.search.filter import parse_filter

BASE = {"sha256": "0" * 64, "media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
KINDS: dict[type, str] = {str: "text", int: "number", float: "number", bool: "boolean"}


def fill(database: Database, pictures: list[dict[str, Any]]) -> None:
    with database.transaction() as session:
        rows = [
            BASE | {"key": str(number), "label": None, "metadata_": {}} | one for number, one in enumerate(pictures)
        ]
        session.execute(insert(Image), rows)


def counted(database: Database, label: str | None = None, filter_: str | None = None) -> Facets:
    with database.scan_session() as session:
        return count_facets(session, filter_condition(label, None if filter_ is None else parse_filter(filter_)))


def expected(pictures: list[dict[str, Any]]) -> Facets:
    labels = Counter(one["label"] for one in pictures if one.get("label") is not None)
    names = Counter(name for one in pictures for name in one.get("metadata_", {}))
    frequent = sorted(names, key=lambda name: (-names[name], name))[:MAX_FIELDS]
    return Facets(
        [Count(label, number) for label, number in sorted(labels.items(), key=lambda item: (-item[1], item[0]))[:50]],
        [
            field(name, [one["metadata_"][name] for one in pictures if name in one.get("metadata_", {})])
            for name in frequent
        ],
    )


def field(name: str, held: list[Any]) -> Field:
    kinds = {KINDS.get(type(value), "other") for value in held}
    distinct = {(type(value) is bool, repr(value) if isinstance(value, list) else value) for value in held}
    kind = kinds.pop() if len(kinds) == 1 else "other"
    if kind == "other":
        return Field(name, "other", len(held), [], len(distinct))
    counts = Counter(held)
    values = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_VALUES]
    ends = (float(min(held)), float(max(held))) if kind == "number" else (None, None)
    return Field(name, kind, len(held), [Count(*value) for value in values], len(distinct), *ends)  # type: ignore[arg-type]  # `ends` has two items


def drawn(seed: int, many: int) -> list[dict[str, Any]]:
    """Draw images with fields of all types: few values, many, unique ones, lists, and unusual names."""
    rng = np.random.default_rng(seed)

    def fields(number: int) -> dict[str, Any]:
        said: dict[str, Any] = {
            "sku": f"sku {number:05}",
            "price": int(rng.integers(200)) / 4 if rng.random() < 0.5 else int(rng.integers(60)),
            "sale": bool(rng.integers(2)),
            "": str(rng.integers(3)),
            "sizes": [int(rng.integers(2))],
            "mixed": "text" if rng.random() < 0.5 else 5,
            'odd "name" %(x)s \\ ü': f"it's {rng.integers(70)} % \\ “x”",
        }
        return {name: value for name, value in said.items() if rng.random() < 0.8} | {f"own {number}": number}

    labels = (None, "", "boots", "hats", "it's 100 %")
    return [{"label": labels[rng.integers(len(labels))], "metadata_": fields(number)} for number in range(many)]


def test_facets_equal_counts_in_python(database: Database) -> None:
    pictures = drawn(0, 400)
    fill(database, pictures)
    assert counted(database) == expected(pictures)
    some = [one for one in pictures if one["label"] == "boots" and one["metadata_"].get("sale") is True]
    assert 0 < len(some) < len(pictures)
    assert counted(database, "boots", '{"sale": true}') == expected(some)


def test_number_of_fields_is_limited_without_labels_too(database: Database) -> None:
    pictures = [{"metadata_": {f"field {number:03}": number for number in range(2 * MAX_FIELDS)}}]
    fill(database, pictures)
    assert counted(database) == expected(pictures)
    assert len(counted(database).fields) == MAX_FIELDS


def test_field_with_an_empty_name_is_not_the_label(database: Database) -> None:
    fill(database, [{"label": "boots", "metadata_": {"": "hats"}}])
    assert counted(database) == Facets([Count("boots", 1)], [Field("", "text", 1, [Count("hats", 1)], 1)])


def test_long_values_are_counted_but_not_returned(database: Database) -> None:
    short, long = "x" * MAX_LENGTH, "x" * (MAX_LENGTH + 1)
    fill(database, [{"label": long, "metadata_": {"a": long, long: 1}}, {"label": short, "metadata_": {"a": short}}])
    assert counted(database) == Facets([Count(short, 1)], [Field("a", "text", 2, [Count(short, 1)], 2)])


def test_concurrent_requests_count_once(database: Database) -> None:
    fill(database, drawn(1, 50))
    facets, scans, together = FacetCache(), list[str](), threading.Barrier(20)

    def note(*call: Any) -> None:
        if "jsonb_each" in call[2]:
            scans.append(call[2])

    def ask(_: int) -> Facets:
        together.wait()
        return facets.get(database, None, parse_filter('{"sale": true}'))

    event.listen(database.engine, "before_cursor_execute", note)
    with ThreadPoolExecutor(20) as threads:
        found = list(threads.map(ask, range(20)))
    assert all(one is found[0] for one in found)
    assert len(scans) == 1, "one statement for labels, fields and values"


def test_change_invalidates_cached_facets(database: Database) -> None:
    facets = FacetCache()
    assert facets.get(database, None, None).labels == []
    fill(database, [{"label": "boots"}])
    with database.transaction() as session:
        session.execute(text("UPDATE catalogue SET seq = seq + 1"))
    assert facets.get(database, None, None).labels == [Count("boots", 1)]
