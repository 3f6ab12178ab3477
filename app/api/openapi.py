"""The OpenAPI description, as FastAPI makes it and with what it cannot say."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from app.api.middleware.auth import is_open
from app.api.problems import MEDIA_TYPE

KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key, `lookalike keys create NAME`. While there are none, none is asked for.",
}
_PROBLEM = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
REFUSALS = {
    "401": {"description": "An API key is asked for.", "content": _PROBLEM},
    "403": {"description": "The key is not for this.", "content": _PROBLEM},
    "429": {"description": "The key asks too often; see Retry-After.", "content": _PROBLEM},
}
TOO_LONG = {"400": {"description": "The address and the headers are too long.", "content": _PROBLEM}}
UNREADABLE = {
    "400": {"description": "The body cannot be read, or the head is too long.", "content": _PROBLEM},
    "408": {"description": "The request took too long to arrive.", "content": _PROBLEM},
    "413": {"description": "The request is too large.", "content": _PROBLEM},
}


def describe(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Returns a replacement for `app.openapi`."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _amended(plain())
        return app.openapi_schema

    return openapi


def _amended(schema: dict[str, Any]) -> dict[str, Any]:
    schema["components"]["securitySchemes"] = {"key": KEY}
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            if "requestBody" in operation:
                operation["responses"] = dict(sorted((UNREADABLE | operation["responses"]).items()))
            elif operation.get("parameters"):
                operation["responses"] = dict(sorted((TOO_LONG | operation["responses"]).items()))
            _errors_are_problems(operation["responses"])
            if not is_open(path):
                operation["security"] = [{"key": []}, {}]
                operation["responses"] |= REFUSALS
    for body in schema["components"]["schemas"].values():
        for field in body.get("properties", {}).values():
            _files_are_binary(field)
            _files_are_binary(field.get("items", {}))
    return schema


def _errors_are_problems(responses: dict[str, Any]) -> None:
    """Gives errors their media type: FastAPI describes every model as application/json."""
    for status, response in responses.items():
        content = response.get("content", {})
        if status >= "400" and "application/json" in content:
            content[MEDIA_TYPE] = content.pop("application/json")


def _files_are_binary(field: dict[str, Any]) -> None:
    """Marks files as Swagger UI and generators of clients know them; without it, they take them for text."""
    if field.get("contentMediaType") == "application/octet-stream":
        field["format"] = "binary"
