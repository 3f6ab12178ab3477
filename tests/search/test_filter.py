"""What a filter may say, and how much of it."""

import json
import time

import pytest

from app.errors import InvalidInputError
from app.search.filter import MAX_COMPARISONS, MAX_DEPTH, MAX_TESTS, read_filter


@pytest.mark.parametrize(
    ("filter_", "said"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"price": NaN}', "is not JSON: a number is not finite"),
        (f'{{"price": {10**400}}}', "too large for a float"),
        ('{"colour": "\\u0000"}', "NUL"),
        ("[]", "must be an object"),
        ('{"price": {"$lte": null}}', "price.$lte null is no value to compare with"),
        ('{"price": {"$near": 5}}', "price.$near is not known here; there are $eq, $gt"),
        ('{"price": {}}', "price says nothing"),
        ('{"price": [1, 2]}', "price.$eq must be a text, a number, true or false"),
        ('{"price": {"$in": 5}}', "price.$in must be a list of values"),
        ('{"price": {"$exists": "yes"}}', "price.$exists must be true or false"),
        ('{"price": {"$not": 5}}', "price.$not is not known here"),
        ('{"$nor": []}', "$nor is not known here; between fields there are $and, $or and $not"),
        ('{"$or": []}', "$or must be a list of filters"),
        ('{"$and": [5]}', "$and[0] must be an object"),
        ('{"$not": 5}', "$not must be an object"),
        ('{"$not": ' * (MAX_DEPTH + 1) + "{}" + "}" * (MAX_DEPTH + 1), f"lies more than {MAX_DEPTH} deep"),
        (json.dumps({f"field {n}": 1 for n in range(MAX_TESTS + 1)}), "is one test too many"),
        (json.dumps({"price": {"$in": list(range(MAX_COMPARISONS + 1))}}), f"price.$in makes {MAX_COMPARISONS + 1}"),
        (json.dumps({"$or": [{"a": {"$nin": [1] * MAX_COMPARISONS}}, {"b": 1}]}), "$or[1].b.$eq makes"),
    ],
)
def test_what_is_no_filter_is_told_with_its_place(filter_: str, said: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        read_filter(filter_)
    assert refused.value.field == "filter"
    assert said in refused.value.reason


def test_as_much_as_may_be_said_is_read() -> None:
    each = MAX_COMPARISONS // MAX_TESTS
    filter_ = read_filter(json.dumps({f"field {n}": {"$in": [1] * each} for n in range(MAX_TESTS)}))
    assert len(filter_.fields) == MAX_TESTS


def test_filters_that_python_would_take_for_the_same_are_told_apart() -> None:
    texts = [f'{{"a": {value}}}' for value in ("1", "1.0", "true", '"1"')]
    assert len({read_filter(text) for text in texts}) == len(texts)


def test_the_longest_filter_is_refused_in_no_time() -> None:
    """One of 8 kB that compares every picture with some 3,500 values."""
    lists = [{"a": {"$nin": [number % 10 for number in range(64)]}} for _ in range(55)]
    begun = time.process_time()
    with pytest.raises(InvalidInputError, match="comparisons; a filter has at most"):
        read_filter(json.dumps({"$and": lists}, separators=(",", ":")))
    assert time.process_time() - begun < 0.5
