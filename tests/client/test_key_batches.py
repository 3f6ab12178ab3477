"""Keys are looked up in batches that fit into a filter."""

import json

from hypothesis import given
from hypothesis import strategies as st
from lookalike_client.batching import MAX_FILTER_CHARACTERS, MAX_FILTER_KEYS, key_batches

from app.api.dependencies import MAX_FILTER
from app.search.filter import MAX_COMPARISONS


@given(st.lists(st.text(max_size=512)))
def test_batches_of_keys_fit_into_a_filter(keys: list[str]) -> None:
    batches = list(key_batches(keys))
    assert [key for batch in batches for key in batch] == list(dict.fromkeys(keys))
    for batch in batches:
        assert 0 < len(batch) <= MAX_FILTER_KEYS < MAX_COMPARISONS
        assert len(batch) == 1 or len(json.dumps(batch)) <= MAX_FILTER_CHARACTERS
        assert len(json.dumps({"key": {"$in": batch}})) <= MAX_FILTER
