"""Extend FastAPI's OpenAPI description with security, middleware errors and media types."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from app.api.middleware.auth import is_open
from app.api.problems import MEDIA_TYPE

KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, created with `lookalike keys create NAME`. Not required while there are no keys.",
}
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
AUTH_RESPONSES = {
    "401": {"description": "An API key is required.", "content": _PROBLEM},
    "403": {"description": "The key lacks the required scope.", "content": _PROBLEM},
    "429": {"description": "The rate limit is exceeded; see Retry-After.", "content": _PROBLEM},
}
UNKNOWN_PARAMETER = {"422": {"description": "The call has no such parameter.", "content": _PROBLEM}}
HEAD_RESPONSES = {"400": {"description": "The URL and the headers are too long.", "content": _PROBLEM}}
BODY_RESPONSES = {
    "400": {"description": "The body cannot be parsed, or the URL and the headers are too long.", "content": _PROBLEM},
    "408": {"description": "The request took too long to arrive.", "content": _PROBLEM},
    "413": {"description": "The request is too large.", "content": _PROBLEM},
    "415": {"description": "The content encoding is not supported; see Accept-Encoding.", "content": _PROBLEM},
}


def extend_openapi(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return a replacement for `app.openapi`."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _extend(plain())
        return app.openapi_schema

    return openapi


def _extend(schema: dict[str, Any]) -> dict[str, Any]:
    schema["components"]["securitySchemes"] = {"key": KEY}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if "requestBody" in operation:
                operation["responses"] = dict(sorted((BODY_RESPONSES | operation["responses"]).items()))
            elif operation.get("parameters"):
                operation["responses"] = dict(sorted((HEAD_RESPONSES | operation["responses"]).items()))
            operation["responses"] = UNKNOWN_PARAMETER | operation["responses"]
            _use_problem_media_type(operation["responses"])
            if not is_open(path):
                operation["security"] = [{"key": []}, {}]
                operation["responses"] |= AUTH_RESPONSES
    for body in schema["components"]["schemas"].values():
        for field in body.get("properties", {}).values():
            _mark_binary(field)
            _mark_binary(field.get("items", {}))
    return schema


def _use_problem_media_type(responses: dict[str, Any]) -> None:
    """Set the media type of errors, which FastAPI describes with the media type of the route's success."""
    for status, response in responses.items():
        if status >= "400" and "content" in response:
            (problem,) = response["content"].values()
            response["content"] = {MEDIA_TYPE: problem}


def _mark_binary(field: dict[str, Any]) -> None:
    """Set the `binary` format on files; without it Swagger UI and client generators treat them as text."""
    if field.get("contentMediaType") == "application/octet-stream":
        field["format"] = "binary"
