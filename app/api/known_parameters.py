"""Reject query parameters and form fields that a call does not declare, instead of ignoring them.

An ignored `labels=boots` would return everything, unfiltered. The accepted names are read from the route's signature.
"""

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_origin
from weakref import WeakKeyDictionary

from fastapi import APIRouter, Depends, Request, UploadFile, params
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.datastructures import UploadFile as FormFile

from app.api.nearest_name import nearest_name
from app.common.json_values import RepeatedNameError, unique_names

# Maximum number of reported errors, and of characters of a name in them.
MAX_ERRORS, MAX_NAME = 20, 100
# Maximum size of a part without a file name that is recognised as text; longer ones are files.
MAX_TEXT_BYTES = 4096


# What `declared_parameters` found, by endpoint: every request needs it.
_DECLARED: WeakKeyDictionary[Callable[..., Any], "Declared"] = WeakKeyDictionary()


@dataclass(frozen=True)
class FormField:
    """A field of a call's form.

    Attributes:
        is_file: whether it has to be a file.
        is_list: whether it may occur more than once.
    """

    is_file: bool
    is_list: bool


@dataclass(frozen=True)
class Declared:
    """Names that a call accepts: its query parameters, form fields, and fields of its JSON body.

    `repeatable` are the query parameters that may occur more than once.
    """

    query: tuple[str, ...]
    form: Mapping[str, FormField]
    json: tuple[str, ...]
    repeatable: frozenset[str] = frozenset()


async def reject_unknown_parameters(request: Request) -> None:
    """Dependency of every call: reject unknown, misplaced and repeated parameters, form fields and JSON fields.

    Raises:
        RequestValidationError: there is one; lists at most `MAX_ERRORS`.
    """
    declared = declared_parameters(request.scope["route"])
    errors = [("query", *error) for error in query_errors(declared, request.query_params.multi_items())]
    if declared.form:
        # FastAPI has parsed it before, with its limits.
        form = await request.form()
        errors += [("body", *error) for error in form_errors(declared, form, request.scope["route"].path)]
    if declared.json:
        errors += [("body", *error) for error in json_errors(declared, await request.body())]
    if errors:
        raise RequestValidationError(
            [
                {"type": "parameter", "loc": (place, name[:MAX_NAME]), "msg": reason}
                for place, name, reason in errors[:MAX_ERRORS]
            ]
        )


def resource_router(
    tag: str, responses: dict[int | str, dict[str, Any]] | None = None, route_class: type[APIRoute] = APIRoute
) -> APIRouter:
    """Return a router of calls that reject what they do not declare."""
    dependencies = [Depends(reject_unknown_parameters)]
    return APIRouter(tags=[tag], responses=responses, route_class=route_class, dependencies=dependencies)


def declared_parameters(route: APIRoute) -> Declared:
    """Return the names that a call accepts, from the signatures of its endpoint and dependencies."""
    found = _DECLARED.get(route.endpoint)
    if found is None:
        found = _DECLARED[route.endpoint] = _declared_parameters(route)
    return found


def _declared_parameters(route: APIRoute) -> Declared:
    dependants = list(_walk(route.dependant))
    body = [field for dependant in dependants for field in dependant.body_params]
    query = [field for dependant in dependants for field in dependant.query_params]
    return Declared(
        query=tuple(dict.fromkeys(field.alias for field in query)),
        repeatable=frozenset(field.alias for field in query if get_origin(field.field_info.annotation) is list),
        form={
            field.alias: _form_field(field.field_info.annotation)
            for field in body
            if isinstance(field.field_info, params.Form)
        },
        json=tuple(
            name
            for field in body
            if not isinstance(field.field_info, params.Form)
            for name in getattr(field.field_info.annotation, "model_fields", ())
        ),
    )


def query_errors(declared: Declared, sent: Collection[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the name of each invalid query parameter, and what is wrong with it."""
    for name, count in Counter(name for name, _ in sent).items():
        if name in declared.query:
            if count > 1 and name not in declared.repeatable:
                yield name, f"is given {count} times. Send it once"
        elif name in declared.form:
            yield name, "is a field of the form, not a query parameter. Send it in the form"
        else:
            yield name, f"is not a parameter of this call. {_advice(name, declared.query, 'parameters')}"


def form_errors(declared: Declared, form: FormData, path: str) -> Iterator[tuple[str, str]]:
    """Yield the name of each invalid form field, and what is wrong with it."""
    for name, count in Counter(name for name, _ in form.multi_items()).items():
        field = declared.form.get(name)
        if field is None:
            yield name, unknown_field_reason(name, tuple(declared.form), declared.query, path)
        elif count > 1 and not field.is_list:
            yield name, f"is given {count} times. Send it once"
        elif field.is_file and any(map(_is_text, form.getlist(name))):
            yield name, f"is text and not a file. Send it as `curl -F {name}=@photo.jpg` does, as multipart/form-data"


def json_errors(declared: Declared, body: bytes) -> Iterator[tuple[str, str]]:
    """Yield the name of each unknown field of a JSON body, or of one that occurs twice."""
    try:
        parsed = json.loads(body, object_pairs_hook=unique_names)
    except RepeatedNameError as error:
        yield error.name, "occurs twice in one object. Send it once"
        return
    except (ValueError, RecursionError):
        return
    for name in parsed if isinstance(parsed, dict) else ():
        if name not in declared.json and name.isprintable():
            yield name, f"is not a field of this request. {_advice(name, declared.json, 'fields')}"


def unknown_field_reason(name: str, fields: Collection[str], query: Collection[str], path: str) -> str:
    """Return what is wrong with a form field that a call does not have.

    Args:
        name: the field.
        fields: the fields of the call's form.
        query: the call's query parameters.
        path: the call's path, for the advice.
    """
    parameter = name if name in query else None
    if parameter is None and nearest_name(name, tuple(fields)) is None:
        parameter = nearest_name(name, tuple(query))
    if parameter is None:
        return f"is not a field of this form. {_advice(name, fields, 'fields')}"
    return f"is not a field of this form. Send it as a query parameter: `{path}?{parameter}=…`"


def _advice(name: str, known: Collection[str], kind: str) -> str:
    if not known:
        return f"It has no {kind}. Leave it out"
    if nearest := nearest_name(name, tuple(known)):
        return f"Did you mean `{nearest}`?"
    return f"Its {kind} are {', '.join(f'`{one}`' for one in known)}"


def _is_text(value: str | FormFile) -> bool:
    """Return whether a file's value is a short text without a file name, such as a path sent instead of a file."""
    if isinstance(value, str):
        return True
    if value.filename or not 0 < (value.size or 0) <= MAX_TEXT_BYTES:
        return False
    data = value.file.read()
    value.file.seek(0)
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _walk(dependant: Dependant) -> Iterator[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _walk(inner)


def _form_field(annotation: Any) -> FormField:
    is_list = get_origin(annotation) is list
    return FormField(is_file=annotation in (UploadFile, list[UploadFile]), is_list=is_list)
