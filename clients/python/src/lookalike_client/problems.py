"""Error responses as exceptions: the service's own (RFC 9457), and those of a proxy in front of it."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from lookalike_client.errors import FieldError, ProblemError
from lookalike_client.retries import retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of a body that is not the service's, how many characters are shown, and how many bytes are read for them.
MAX_EXCERPT, EXCERPT_BYTES = 500, 4000
_TAG = re.compile(r"<[^<>]*>")


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """Returns a response outside 200 to 299 as an exception."""
    content = _json_object(body)
    title = _text(content.get("title")) or _phrase(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ProblemError(status, title, _redirected(status, headers.get("location", "").strip()))
    detail = _text(content.get("detail")) if content else _excerpt(body)
    code = content.get("code")
    known = code if isinstance(code, str) else None
    return ProblemError(status, title, detail, _fields(content.get("errors")), retry_after(headers), known)


def unreadable(status: int, reason: str) -> ProblemError:
    """Returns the exception for a successful response that is not one of Lookalike's."""
    detail = (
        f"The answer {_named(status)} is not one of Lookalike's: {reason}. "
        "Something else may listen at this address, or stand in front of the service."
    )
    return ProblemError(status, "Unreadable answer", detail)


def _redirected(status: int, location: str) -> str:
    if not location:
        return f"This address answers {_named(status)}, which is not an answer of Lookalike's."
    return (
        f"The service is not at this address, which answers {_named(status)} and leads to {location[:MAX_EXCERPT]}. "
        "Use that address, or one that does not redirect."
    )


def _json_object(body: bytes) -> dict[str, Any]:
    """Returns the JSON object in a body; empty if there is none."""
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
    """Returns the first words of an HTML page, without its tags."""
    return " ".join(_TAG.sub(" ", body[:EXCERPT_BYTES].decode(errors="replace")).split())[:MAX_EXCERPT]


def _named(status: int) -> str:
    return f"{status} {_phrase(status)}".strip()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
