"""Filter syntax and limits."""

import json
import time

import pytest

from app.errors import InvalidInputError
from app.search.filter import MAX_COMPARISONS, MAX_DEPTH, MAX_TESTS, parse_filter


@pytest.mark.parametrize(
    ("filter_", "message"),
    [
        ("{", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"price": NaN}', "is not valid JSON: NaN is not valid JSON"),
        (f'{{"price": {10**400}}}', "too large for a float"),
        ('{"colour": "\\u0000"}', "NUL"),
        ("[]", "must be an object"),
        ('{"price": {"$lte": null}}', "price.$lte must not be null"),
        ('{"price": {"$near": 5}}', "price.$near is not a known operator. Use one of $eq, $gt"),
        ('{"price": {}}', "price is empty"),
        ('{"price": [1, 2]}', "price.$eq must be a string, a number, true or false"),
        ('{"price": {"$in": 5}}', "price.$in must be a list of values"),
        ('{"price": {"$exists": "yes"}}', "price.$exists must be true or false"),
        ('{"price": {"$not": 5}}', "price.$not is not a known operator"),
        ('{"$nor": []}', "$nor is not an operator for filters. Use $and, $or or $not"),
        ('{"$or": []}', "$or must be a list of at least one filter"),
        ('{"$and": [5]}', "$and[0] must be an object"),
        ('{"$not": 5}', "$not must be an object"),
        ('{"$not": ' * (MAX_DEPTH + 1) + "{}" + "}" * (MAX_DEPTH + 1), f"is nested more than {MAX_DEPTH} levels deep"),
        (json.dumps({f"field {n}": 1 for n in range(MAX_TESTS + 1)}), "is one test too many"),
        (
            json.dumps({"price": {"$in": list(range(MAX_COMPARISONS + 1))}}),
            f"price.$in brings the filter to {MAX_COMPARISONS + 1}",
        ),
        (json.dumps({"$or": [{"a": {"$nin": [1] * MAX_COMPARISONS}}, {"b": 1}]}), "$or[1].b.$eq brings the filter to"),
    ],
)
def test_invalid_filter_is_refused_with_the_path_of_the_error(filter_: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_filter(filter_)
    assert refused.value.field == "filter"
    assert message in refused.value.reason


def test_filter_at_every_limit_is_accepted() -> None:
    each = MAX_COMPARISONS // MAX_TESTS
    filter_ = parse_filter(json.dumps({f"field {n}": {"$in": [1] * each} for n in range(MAX_TESTS)}))
    assert len(filter_.fields) == MAX_TESTS


def test_filters_with_values_that_python_considers_equal_are_different() -> None:
    texts = [f'{{"a": {value}}}' for value in ("1", "1.0", "true", '"1"')]
    assert len({parse_filter(text) for text in texts}) == len(texts)


def test_longest_filter_is_refused_quickly() -> None:
    """A filter of 8 kB that would compare every image with 3,500 values."""
    lists = [{"a": {"$nin": [number % 10 for number in range(64)]}} for _ in range(55)]
    started = time.process_time()
    with pytest.raises(InvalidInputError, match="comparisons; at most"):
        parse_filter(json.dumps({"$and": lists}, separators=(",", ":")))
    assert time.process_time() - started < 0.5
