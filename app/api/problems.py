"""Errors as HTTP: every one becomes `application/problem+json` (RFC 9457), in this file alone."""

import logging
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send

from app.errors import (
    CallerLeftError,
    ForbiddenError,
    InvalidInputError,
    LookalikeError,
    NotFoundError,
    OverloadedError,
    PictureRefusedError,
    StatementTimeoutError,
    TooLargeError,
    TooManyRequestsError,
    TooSlowError,
    UnauthorisedError,
    UnavailableError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# The status, and why in a word, for metrics; the first that fits.
ANSWERS: dict[type[LookalikeError], tuple[HTTPStatus, str]] = {
    PictureRefusedError: (HTTPStatus.UNPROCESSABLE_ENTITY, "picture"),
    InvalidInputError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
    NotFoundError: (HTTPStatus.NOT_FOUND, "not_found"),
    TooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_large"),
    UnauthorisedError: (HTTPStatus.UNAUTHORIZED, "unauthorised"),
    ForbiddenError: (HTTPStatus.FORBIDDEN, "forbidden"),
    TooManyRequestsError: (HTTPStatus.TOO_MANY_REQUESTS, "rate"),
    TooSlowError: (HTTPStatus.REQUEST_TIMEOUT, "too_slow"),
    CallerLeftError: (HTTPStatus.SERVICE_UNAVAILABLE, "left"),
    StatementTimeoutError: (HTTPStatus.SERVICE_UNAVAILABLE, "timeout"),
    OverloadedError: (HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
    UnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    LookalikeError: (HTTPStatus.CONFLICT, "conflict"),
}
# Where a request's state says why it was refused.
REFUSED = "refused"
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
TOO_LARGE = ("too_many_bytes", "too_many_pixels")


class FieldError(BaseModel):
    """What is wrong with one field or parameter."""

    field: str
    reason: str


class Problem(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


def add_exception_handlers(app: FastAPI) -> None:
    """Makes the application answer every error as a problem."""
    app.add_exception_handler(LookalikeError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


class ProblemResponse(JSONResponse):
    """An answer that says what went wrong, and leaves why in the request's state."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, reason: str, headers: dict[str, str]) -> None:
        super().__init__(problem.model_dump(), problem.status, headers)
        self._reason = reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends it."""
        scope.setdefault("state", {})[REFUSED] = self._reason
        await super().__call__(scope, receive, send)


def problem_response(
    status: HTTPStatus,
    detail: str,
    reason: str,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> ProblemResponse:
    """Builds a problem's response; `reason` is why, in a word."""
    problem = Problem(title=status.phrase, status=status, detail=detail, errors=errors or [])
    return ProblemResponse(problem, reason, headers or {})


def bug_response() -> ProblemResponse:
    """Answers what nobody foresaw."""
    detail = "Something went wrong here; the server's log says what."
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, detail, "bug")


def respond(error: LookalikeError) -> ProblemResponse:
    """Turns one of the project's own errors into its response."""
    status, reason = next(answer for kind, answer in ANSWERS.items() if isinstance(error, kind))
    fields: list[FieldError] = []
    headers: dict[str, str] = {}
    match error:
        case PictureRefusedError():
            fields = [FieldError(field="image", reason=error.reason)]
            if error.code in TOO_LARGE:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case InvalidInputError():
            fields = [FieldError(field=error.field, reason=error.reason)]
        case UnauthorisedError():
            headers = {"WWW-Authenticate": "Bearer"}
        case TooManyRequestsError() | UnavailableError():
            headers = {"Retry-After": str(error.retry_after)}
        case _:
            pass
    return problem_response(status, str(error), reason, fields, headers)


async def _on_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, CallerLeftError):
        log.info("%s", error)
    elif isinstance(error, UnavailableError):
        log.warning("unavailable: %s", error)
    if not isinstance(error, LookalikeError):
        raise error
    return respond(error)


async def _on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [FieldError(field=_field(item["loc"]), reason=str(item["msg"])) for item in found]
    detail = "; ".join(f"{field.field}: {field.reason}" for field in fields)
    status, reason = ANSWERS[InvalidInputError]
    return problem_response(status, detail, reason, fields)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _methods(request)):
        headers["Allow"] = ", ".join(methods)
    return problem_response(status, str(error.detail), _word(status), headers=headers)


def _methods(request: Request) -> list[str]:
    """Returns what a path can be asked; the route that refused knows only its own method."""
    app: FastAPI = request.app
    routes = [route for route in app.routes if not isinstance(route, Mount)]
    ways = {method: dict(request.scope) | {"method": method} for method in METHODS}
    return [method for method, way in ways.items() if any(route.matches(way)[0] == Match.FULL for route in routes)]


def _word(status: HTTPStatus) -> str:
    """Returns a status in a word, as a reason."""
    return status.phrase.lower().replace(" ", "_")


def _field(location: Sequence[str | int]) -> str:
    """Names the place of an error as its sender knows it: the parameter or field, then the way into it."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])
