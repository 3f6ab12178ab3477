"""Conversion of error responses to exceptions: the service's own (RFC 9457), and those of a proxy."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lookalike_client.errors import FieldError, ProblemError
from lookalike_client.retries import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

# Maximum characters shown of a body that is not the service's, and bytes read for them.
MAX_EXCERPT, EXCERPT_BYTES = 500, 4000
_TAG = re.compile(r"<[^<>]*>")


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """Convert a response with a status outside 200 to 299 to an exception."""
    content = _json_object(body)
    title = _text(content.get("title")) or _reason_phrase(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ProblemError(status, title, _redirect_detail(status, headers.get("location", "").strip()))
    detail = _text(content.get("detail")) if content else _excerpt(body)
    code = content.get("code")
    known = code if isinstance(code, str) else None
    return ProblemError(status, title, detail, _fields(content.get("errors")), retry_after(headers), known)


def unreadable(status: int, reason: str) -> ProblemError:
    """Return the exception for a successful response that does not come from Lookalike."""
    detail = (
        f"The response {_status_text(status)} does not come from Lookalike: {reason}. "
        "Check whether another program listens at this address, or a proxy is in front of the service."
    )
    return ProblemError(status, "Unexpected response", detail)


def _redirect_detail(status: int, location: str) -> str:
    if not location:
        return f"The response {_status_text(status)} does not come from Lookalike. Check the address."
    return (
        f"The address redirects ({_status_text(status)}) to {location[:MAX_EXCERPT]}. "
        "Use that address, or one that does not redirect."
    )


def _json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; empty if there is none."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _fields(errors: Any) -> tuple[FieldError, ...]:
    items = [item for item in errors if isinstance(item, dict)] if isinstance(errors, list) else []
    return tuple(FieldError(str(item.get("field")), str(item.get("reason"))) for item in items)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _excerpt(body: bytes) -> str:
    """Return the beginning of an HTML page's text."""
    return " ".join(_TAG.sub(" ", body[:EXCERPT_BYTES].decode(errors="replace")).split())[:MAX_EXCERPT]


def _status_text(status: int) -> str:
    return f"{status} {_reason_phrase(status)}".strip()


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
