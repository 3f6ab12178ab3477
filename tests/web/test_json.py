"""The page's JSON: whole numbers keep their digits."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page

from app.common.json_values import normalise_numbers
from tests.numbers import NUMBERS

# Text with what the page's parser has to tell from numbers and strings.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | st.sampled_from(
    ["9007199254740993", '"9007199254740993"', '\\"1', "\\", "\\u0000", "[12345678901234567890]"]
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT.filter(lambda name: name != "__proto__"), inner),
    max_leaves=8,
)
ROUND_TRIP = """async (texts) => {
  const { parseJson, stringifyJson } = await import("/web/common/json.js");
  return texts.map((text) => stringifyJson(parseJson(text)));
}"""


def form(value: object) -> str:
    """Return a value's one form: 1.0 and 1e0 are 1, but true is not."""
    return json.dumps(normalise_numbers(value), sort_keys=True)


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=1, max_size=10))
def test_page_keeps_every_value(page: Page, values: list[object]) -> None:
    if page.url == "about:blank":
        page.goto("/")
    for escaped in (True, False):
        texts = page.evaluate(ROUND_TRIP, [json.dumps(value, ensure_ascii=escaped) for value in values])
        assert [form(json.loads(text)) for text in texts] == [form(value) for value in values]


def test_text_that_is_not_json_is_refused(page: Page) -> None:
    page.goto("/")
    refused = """async (text) => {
      const { parseJson } = await import("/web/common/json.js");
      try { return parseJson(text); } catch (error) { return error.name; }
    }"""
    for text in ("{12345678901234567890: 1}", "12345678901234567890abc", "007", ""):
        assert page.evaluate(refused, text) == "SyntaxError"
