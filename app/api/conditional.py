"""Conditional requests: `If-None-Match` (RFC 9110, 13.1.2)."""

import re
from collections.abc import Iterable
from typing import Annotated

from fastapi import Depends, Header, Request

_TAG = re.compile(r'(?:W/)?("[^"]*")')


async def get_if_none_match(
    request: Request,
    if_none_match: Annotated[  # noqa: ARG001 - only documents the header: the values come from the request
        str | None, Header(description="Entity tags, or `*`: respond 304 if one is current.")
    ] = None,
) -> list[str]:
    """Return the values of all `If-None-Match` headers.

    RFC 9110 (5.3) allows a list to be sent as several headers, of which FastAPI's parameter has only one.
    """
    return request.headers.getlist("if-none-match")


IfNoneMatch = Annotated[list[str], Depends(get_if_none_match)]


def is_not_modified(if_none_match: Iterable[str], etag: str) -> bool:
    """Return whether the response to a GET or HEAD is 304.

    Args:
        if_none_match: values of the `If-None-Match` headers: `*`, or lists of entity tags, which are compared weakly.
        etag: entity tag of the current representation, in quotes.
    """
    text = ",".join(if_none_match)
    return text.strip() == "*" or etag in _TAG.findall(text)
