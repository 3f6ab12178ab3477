"""The OpenAPI description: complete, consistent, and usable by client generators."""

import json
from collections.abc import Iterator
from importlib import import_module
from inspect import isfunction
from typing import Any

import pytest
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts

from app.api.problem_codes import ProblemCode
from app.api.problems import MEDIA_TYPE
from app.main import create_app
from app.settings import Settings

PATHS = {
    "/search": {"post"},
    "/index": {"post"},
    "/images": {"get"},
    "/images/update": {"post"},
    "/images/delete": {"post"},
    "/images/export": {"get"},
    "/trash": {"get", "delete"},
    "/trash/restore": {"post"},
    "/trash/{image_id}/thumbnail": {"get"},
    "/images/{image_id}": {"get", "patch", "delete"},
    "/images/{image_id}/original": {"get"},
    "/images/{image_id}/thumbnail": {"get"},
    "/images/{image_id}/seen": {"get"},
    "/images/{image_id}/similar": {"get"},
    "/stats": {"get"},
    "/healthz": {"get"},
    "/readyz": {"get"},
    "/metrics": {"get"},
    "/facets": {"get"},
    "/duplicates": {"get"},
    "/duplicates/distinct": {"post", "delete"},
    "/duplicates/merge": {"post"},
    "/images/{image_id}/duplicates": {"get"},
    "/report": {"get"},
    "/report/summary": {"get"},
    "/search/batch": {"post"},
    "/session": {"get", "post", "delete"},
    "/models": {"get"},
    "/tasks": {"get"},
    "/tasks/adapt": {"post"},
    "/tasks/demo": {"post"},
    "/tasks/reindex": {"post"},
    "/tasks/report": {"post"},
    "/tasks/{kind}/cancel": {"post"},
    "/training/runs": {"get"},
    "/training/runs/{name}": {"get"},
    "/training/runs/{name}/events": {"get"},
    "/keys": {"get", "post"},
    "/keys/{key_id}": {"delete"},
    "/jobs": {"get", "post"},
    "/jobs/{job_id}": {"get"},
    "/jobs/{job_id}/cancel": {"post"},
    "/jobs/{job_id}/events": {"get"},
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(json.dumps(create_app(Settings(_env_file=None)).openapi()))
    return schema


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield f"{method} {path}", operation


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def test_description_has_all_paths_and_methods(schema: dict[str, Any]) -> None:
    assert {path: set(methods) for path, methods in schema["paths"].items()} == PATHS


def test_every_reference_resolves(schema: dict[str, Any]) -> None:
    references = {item["$ref"] for item in walk(schema) if isinstance(item.get("$ref"), str)}
    assert references
    for reference in references:
        assert reference.startswith("#/"), reference
        place: Any = schema
        for part in reference[2:].split("/"):
            place = place[part]


def test_every_operation_has_a_unique_id_a_summary_a_description_and_a_tag(schema: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(schema)]
    assert len(set(names)) == len(names)
    for name, operation in operations(schema):
        assert operation["summary"], name
        assert operation["description"], name
        assert operation["tags"], name


def test_every_error_is_described_as_a_problem(schema: dict[str, Any]) -> None:
    described = 0
    for name, operation in operations(schema):
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == [MEDIA_TYPE], (name, status)
                assert response["content"][MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}
                described += 1
    assert described > len(PATHS)


def test_problem_codes_are_listed(schema: dict[str, Any]) -> None:
    schemas = schema["components"]["schemas"]
    assert schemas["ProblemCode"]["enum"] == list(ProblemCode)
    assert schemas["Problem"]["properties"]["code"] == {"$ref": "#/components/schemas/ProblemCode"}
    assert "code" in schemas["Problem"]["required"]


def test_every_operation_documents_422(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        assert "422" in operation["responses"], name


def test_search_parameters_have_their_bounds_and_defaults(schema: dict[str, Any]) -> None:
    parameters = {item["name"]: item["schema"] for item in schema["paths"]["/search"]["post"]["parameters"]}
    assert set(parameters) == {
        "k",
        "mode",
        "pool",
        "radius",
        "asymmetric",
        "label",
        "filter",
        "text",
        "min_similarity",
        "group_by",
        "explain",
        "sort",
        "crop",
        "like",
        "unlike",
    }
    assert (parameters["k"]["default"], parameters["k"]["minimum"]) == (10, 1)
    assert parameters["mode"]["default"] == "hds"
    assert schema["components"]["schemas"]["Mode"]["enum"] == ["hds", "bcs", "es"]


def test_every_example_is_valid(schema: dict[str, Any]) -> None:
    # The package has no type annotations.
    validator: Any = import_module("jsonschema").Draft202012Validator
    checked = 0
    for item in walk(schema):
        examples = [item["example"]] if "example" in item else item.get("examples", [])
        for example in examples if isinstance(examples, list) else []:
            rules = {**item.get("schema", item), "components": schema["components"]}
            assert not [error.message for error in validator(rules).iter_errors(example)], item
            checked += 1
    assert checked >= 3


def test_files_have_the_binary_format(schema: dict[str, Any]) -> None:
    bodies = schema["components"]["schemas"]
    assert bodies["Body_search"]["properties"]["image"]["items"]["format"] == "binary"
    assert bodies["Body_add_images"]["properties"]["images"]["items"]["format"] == "binary"
    assert bodies["Body_add_images"]["properties"]["metadata"].get("format") != "binary"


def test_defaults_are_made_by_python_functions() -> None:
    """Each request asks pydantic for the signature of a default's factory; that of a class in C takes much longer."""
    factories = [
        (context.path, field.name, field.field_info.default_factory)
        for context in iter_route_contexts(create_app(Settings(_env_file=None)).routes)
        if isinstance(dependant := getattr(context, "dependant", None), Dependant)
        for field in _fields(dependant)
        if field.field_info.default_factory is not None
    ]
    assert ("/search", "image") in {(path, name) for path, name, _ in factories}
    for path, name, factory in factories:
        assert isfunction(factory), (path, name)


def _fields(dependant: Dependant) -> Iterator[ModelField]:
    yield from (*dependant.query_params, *dependant.body_params, *dependant.header_params)
    for inner in dependant.dependencies:
        yield from _fields(inner)
