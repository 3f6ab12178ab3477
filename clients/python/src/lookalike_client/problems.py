"""Answers that grant nothing, as errors: in the service's own words, or in those of something in front of it."""

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from lookalike_client.errors import FieldProblem, ProblemError
from lookalike_client.retries import retry_after

# What is shown at most of words that are not the service's, and how much is read for that.
LONGEST, READ = 500, 4000
_TAG = re.compile(r"<[^<>]*>")


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> ProblemError:
    """Returns what an answer outside 200 to 299 says; something in front of the service may answer in other words."""
    said = _json(body)
    title = _text(said.get("title")) or _phrase(status)
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return ProblemError(status, title, _elsewhere(status, headers.get("location", "").strip()), (), None)
    detail = _text(said.get("detail")) if said else _plain(body)
    return ProblemError(status, title, detail, _fields(said.get("errors")), retry_after(headers))


def unreadable(status: int, why: str) -> ProblemError:
    """Returns what is wrong with an answer that grants something, and is not what the service would say."""
    detail = (
        f"The answer {_named(status)} is not one of Lookalike's: {why}. "
        "Something else may listen at this address, or stand in front of the service."
    )
    return ProblemError(status, "Unreadable answer", detail, (), None)


def _elsewhere(status: int, where: str) -> str:
    if not where:
        return f"What listens at this address answers {_named(status)}, and not as the service would."
    return (
        f"The service is not at this address, which answers {_named(status)} and leads to {where[:LONGEST]}. "
        "Use that address, or one that leads to no other."
    )


def _json(body: bytes) -> dict[str, Any]:
    """Returns the JSON object that a body is; empty where it is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _fields(errors: Any) -> tuple[FieldProblem, ...]:
    some = [one for one in errors if isinstance(one, dict)] if isinstance(errors, list) else []
    return tuple(FieldProblem(str(one.get("field")), str(one.get("reason"))) for one in some)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _plain(body: bytes) -> str:
    """Returns a page's words without its tags."""
    return " ".join(_TAG.sub(" ", body[:READ].decode(errors="replace")).split())[:LONGEST]


def _named(status: int) -> str:
    return f"{status} {_phrase(status)}".strip()


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
