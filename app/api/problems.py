"""Error responses as `application/problem+json` (RFC 9457)."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import Receive, Scope, Send

from app.api.problem_codes import ProblemCode, image_code
from app.errors import (
    ClientDisconnectedError,
    ForbiddenError,
    ImageRejectedError,
    InvalidExamplesError,
    InvalidInputError,
    KeysInUseError,
    LookalikeError,
    NotFoundError,
    NotInTrashError,
    OverloadedError,
    SelectionChangedError,
    StatementTimeoutError,
    TooLargeError,
    TooManyRequestsError,
    TooSlowError,
    UnauthorisedError,
    UnavailableError,
    UnreadableBodyError,
    UnsupportedEncodingError,
)

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# Status and code of each exception class; the first match counts. An exception's own `code` takes precedence.
RESPONSES: dict[type[LookalikeError], tuple[HTTPStatus, ProblemCode]] = {
    ImageRejectedError: (HTTPStatus.UNPROCESSABLE_ENTITY, ProblemCode.IMAGE_DAMAGED),
    InvalidInputError: (HTTPStatus.UNPROCESSABLE_ENTITY, ProblemCode.INVALID_REQUEST),
    InvalidExamplesError: (HTTPStatus.UNPROCESSABLE_ENTITY, ProblemCode.INVALID_REQUEST),
    NotFoundError: (HTTPStatus.NOT_FOUND, ProblemCode.NOT_FOUND),
    TooLargeError: (HTTPStatus.REQUEST_ENTITY_TOO_LARGE, ProblemCode.REQUEST_TOO_LARGE),
    UnreadableBodyError: (HTTPStatus.BAD_REQUEST, ProblemCode.BAD_REQUEST),
    UnsupportedEncodingError: (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, ProblemCode.UNSUPPORTED_MEDIA_TYPE),
    UnauthorisedError: (HTTPStatus.UNAUTHORIZED, ProblemCode.UNAUTHORIZED),
    ForbiddenError: (HTTPStatus.FORBIDDEN, ProblemCode.INSUFFICIENT_SCOPE),
    TooManyRequestsError: (HTTPStatus.TOO_MANY_REQUESTS, ProblemCode.RATE_LIMITED),
    TooSlowError: (HTTPStatus.REQUEST_TIMEOUT, ProblemCode.REQUEST_TIMEOUT),
    ClientDisconnectedError: (HTTPStatus.SERVICE_UNAVAILABLE, ProblemCode.CLIENT_DISCONNECTED),
    StatementTimeoutError: (HTTPStatus.SERVICE_UNAVAILABLE, ProblemCode.STATEMENT_TIMEOUT),
    OverloadedError: (HTTPStatus.SERVICE_UNAVAILABLE, ProblemCode.OVERLOADED),
    UnavailableError: (HTTPStatus.SERVICE_UNAVAILABLE, ProblemCode.UNAVAILABLE),
    NotInTrashError: (HTTPStatus.NOT_FOUND, ProblemCode.NOT_FOUND),
    SelectionChangedError: (HTTPStatus.CONFLICT, ProblemCode.SELECTION_CHANGED),
    KeysInUseError: (HTTPStatus.CONFLICT, ProblemCode.KEY_IN_USE),
    LookalikeError: (HTTPStatus.CONFLICT, ProblemCode.CONFLICT),
}
# Codes of errors raised by the framework, by status.
HTTP_CODES = {
    HTTPStatus.NOT_FOUND: ProblemCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ProblemCode.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ProblemCode.REQUEST_TOO_LARGE,
}
# Reasons of invalid fields whose text from pydantic names types of Python, by its types of errors.
REASONS = {
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "Input should be a JSON object"),
    "list_type": "Input should be a JSON list",
    "extra_forbidden": "Unknown field. Leave it out",
}
# Key of a request's state: the code of its error response.
PROBLEM_CODE = "problem_code"
# Maximum number of missing images that an error lists.
MAX_LISTED = 100
METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
TOO_LARGE = (ProblemCode.IMAGE_TOO_LARGE, ProblemCode.IMAGE_TOO_MANY_PIXELS)


class FieldError(BaseModel):
    """An invalid field or parameter."""

    field: str
    reason: str


class Problem(BaseModel):
    """An error response (RFC 9457)."""

    type: str = Field(default="about:blank", description="Always `about:blank`; `code` has the kind of error.")
    title: str = Field(description="Reason phrase of the status.")
    status: int
    code: ProblemCode
    detail: str = Field(description="What is wrong and what to do, for people.")
    errors: list[FieldError] = Field(default=[], description="Invalid fields and parameters.")


def add_exception_handlers(app: FastAPI) -> None:
    """Register handlers that turn exceptions into problem responses."""
    app.add_exception_handler(LookalikeError, _on_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)


class ProblemResponse(JSONResponse):
    """Problem response; stores its code in the request's state, for metrics."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem, headers: dict[str, str]) -> None:
        super().__init__(problem.model_dump(mode="json"), problem.status, headers)
        self._code = problem.code

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Store the code and send the response."""
        scope.setdefault("state", {})[PROBLEM_CODE] = self._code
        await super().__call__(scope, receive, send)


def problem_response(
    status: HTTPStatus,
    detail: str,
    code: ProblemCode,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> ProblemResponse:
    """Return an error response."""
    problem = Problem(title=status.phrase, status=status, code=code, detail=detail, errors=errors or [])
    return ProblemResponse(problem, headers or {})


def internal_error_response() -> ProblemResponse:
    """Return the response to an unexpected exception."""
    detail = "Internal error. The server's log has the details."
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, detail, ProblemCode.INTERNAL_ERROR)


def error_response(error: LookalikeError) -> ProblemResponse:
    """Return the response to one of the service's own exceptions."""
    status, code = next(response for kind, response in RESPONSES.items() if isinstance(error, kind))
    fields: list[FieldError] = []
    headers: dict[str, str] = {}
    match error:
        case ImageRejectedError():
            fields = [FieldError(field="image", reason=error.reason)]
            code = image_code(error.code)
            if code in TOO_LARGE:
                status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        case InvalidInputError():
            fields = [FieldError(field=error.field, reason=error.reason)]
        case SelectionChangedError():
            fields = [FieldError(field="selection", reason=f"{name} does not exist") for name in error.missing]
            fields = [FieldError(field="expected", reason=f"{error.found} images are selected"), *fields[:MAX_LISTED]]
        case KeysInUseError():
            fields = [
                FieldError(field=str(image_id), reason=f"{key} is in use") for image_id, key in error.keys.items()
            ]
        case InvalidExamplesError():
            fields = [FieldError(field=place, reason=reason) for place, reason in error.reasons.items()]
        case ForbiddenError():
            code = ProblemCode(error.code)
        case UnauthorisedError():
            headers = {"WWW-Authenticate": "Bearer"}
        case UnsupportedEncodingError():
            headers = {"Accept-Encoding": "gzip"}
        case TooManyRequestsError() | UnavailableError():
            headers = {"Retry-After": str(error.retry_after)}
        case _:
            pass
    return problem_response(status, str(error), code, fields, headers)


async def _on_error(_request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, ClientDisconnectedError):
        log.info("%s", error)
    elif isinstance(error, UnavailableError):
        log.warning("unavailable: %s", error)
    if not isinstance(error, LookalikeError):
        raise error
    return error_response(error)


async def _on_invalid_request(_request: Request, error: Exception) -> JSONResponse:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    fields = [FieldError(field=_field_name(item["loc"]), reason=reason_of(item)) for item in found]
    detail = "; ".join(f"{field.field}: {field.reason}" for field in fields)
    status, code = RESPONSES[InvalidInputError]
    return problem_response(status, detail, code, fields)


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    status = HTTPStatus(error.status_code)
    headers = dict(error.headers or {})
    if status == HTTPStatus.METHOD_NOT_ALLOWED and (methods := _allowed_methods(request)):
        headers["Allow"] = ", ".join(methods)
    other = ProblemCode.BAD_REQUEST if status < HTTPStatus.INTERNAL_SERVER_ERROR else ProblemCode.INTERNAL_ERROR
    return problem_response(status, str(error.detail), HTTP_CODES.get(status, other), headers=headers)


def reason_of(error: Mapping[str, Any]) -> str:
    """Return what is wrong in one of pydantic's errors, without the names of Python's types."""
    if (reason := REASONS.get(error["type"])) is not None:
        return reason
    return str(error["msg"]).removeprefix("Value error, ")


def _allowed_methods(request: Request) -> list[str]:
    """Return all methods of a path; the route that raised 405 has only its own."""
    app: FastAPI = request.app
    routes = [route for route in app.routes if not isinstance(route, Mount)]
    scopes = {method: dict(request.scope) | {"method": method} for method in METHODS}
    found = {
        method for method, scope in scopes.items() if any(route.matches(scope)[0] == Match.FULL for route in routes)
    }
    return sorted(found | ({"HEAD"} if "GET" in found else set()))


def _field_name(location: Sequence[str | int]) -> str:
    """Return an error's location without its source: the parameter or field, then the path within it."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])
