"""Conditional requests: `If-None-Match` (RFC 9110, 13.1.2)."""

import re
from collections.abc import Iterable

_TAG = re.compile(r'(?:W/)?("[^"]*")')


def is_not_modified(if_none_match: Iterable[str] | None, etag: str) -> bool:
    """Return whether the response to a GET or HEAD is 304.

    Args:
        if_none_match: values of the `If-None-Match` headers: `*`, or lists of entity tags, which are compared weakly.
        etag: entity tag of the current representation, in quotes.
    """
    text = ",".join(if_none_match or ())
    return text.strip() == "*" or etag in _TAG.findall(text)
