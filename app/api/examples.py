"""Read the examples of `POST /search`: a form with files, query parameters, a JSON body, or an image as the body."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import Depends, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError, WithJsonSchema

from app.api.known_parameters import Declared, json_errors
from app.common.json_values import RepeatedNameError, unique_names
from app.errors import InvalidInputError, TooLargeError
from app.search import examples
from app.search.examples import KEY_PREFIX, MAX_EXAMPLES, Source, Upload, parse_reference

JSON = "application/json"
# A body of these types, and of `image/…`, is an image; its real format is read from its bytes.
_IMAGE, _BYTES = "image/*", "application/octet-stream"
# Sixteen keys of maximum length take much less.
MAX_JSON_BYTES = 65_536
_FORM = "multipart/form-data"


def _check_reference(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("is neither an id, which is a whole number, nor a key, which is text")
    return value


Reference = Annotated[
    int | str, PlainValidator(_check_reference), WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})
]
Weights = dict[examples.Field, list[float]]
_WEIGHTS = TypeAdapter(Weights)


class ExamplesIn(BaseModel):
    """Images of the catalogue to search with, and their weights."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"like": [1, 2], "unlike": [3], "weights": {"like": [2, 1]}}}
    )

    like: list[Reference] = Field(default=[], description="Images to find: ids as numbers, keys as text.")
    unlike: list[Reference] = Field(default=[], description="Images to avoid: ids as numbers, keys as text.")
    weights: Weights = Field(default={}, description="A weight for each image of `like` or `unlike`; default 1.")


class SentExamples(NamedTuple):
    """The images of each field, and their weights: the arguments of `make_examples`."""

    sources: dict[examples.Field, Sequence[Source]]
    weights: Weights


# What FastAPI cannot describe: a second media type, and that lists are sent as repeated fields.
OPENAPI: dict[str, Any] = {
    "requestBody": {
        "content": {
            _FORM: {"encoding": {name: {"style": "form", "explode": True} for name in ("like", "unlike")}},
            JSON: {"schema": ExamplesIn.model_json_schema()},
            _IMAGE: {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
# Described as empty, because Swagger UI would send the text "string" otherwise.
_EMPTY: Any = {"json_schema_extra": {"default": []}}
_IDS_OR_KEYS = f"a whole number is an id, other text a key; `{KEY_PREFIX}17` is the key 17. May be repeated."
_LIKE, _UNLIKE = (f"Images of the catalogue to {verb}: {_IDS_OR_KEYS}" for verb in ("find", "avoid"))


def _none() -> list[Any]:
    """Return an empty list.

    Not `list` itself: pydantic reads the signature of a default's factory at each use, and for a class written in C it
    parses a text, which takes half a millisecond.
    """
    return []


async def get_examples(
    request: Request,
    image: Annotated[
        list[UploadFile],
        File(
            default_factory=_none,
            description="JPEG, PNG, WebP, GIF, BMP, AVIF or HEIC. May be repeated: images to find together, at most "
            f"{MAX_EXAMPLES} examples of all kinds.",
        ),
    ],
    unlike_image: Annotated[
        list[UploadFile], File(default_factory=_none, description="An image to avoid. May be repeated.", **_EMPTY)
    ],
    like: Annotated[list[str], Form(default_factory=_none, description=_LIKE, **_EMPTY)],
    unlike: Annotated[list[str], Form(default_factory=_none, description=_UNLIKE, **_EMPTY)],
    more_like: Annotated[list[str], Query(alias="like", default_factory=_none, description=_LIKE)],
    more_unlike: Annotated[list[str], Query(alias="unlike", default_factory=_none, description=_UNLIKE)],
    weights: Annotated[
        str,
        Form(description='JSON: a weight for each image of a field, such as `{"image": [1, 2], "unlike": [0.5]}`.'),
    ] = "",
) -> SentExamples:
    """Return the examples of a request. They are checked by `make_examples`, after all other parameters.

    Raises:
        InvalidInputError, RequestValidationError: the weights or the JSON body are not valid.
        TooLargeError: the JSON body is too large.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().casefold()
    body = _parse_body(await request.body()) if media_type == JSON else ExamplesIn()
    raw = [_raw_upload(await request.body())] if media_type.startswith("image/") or media_type == _BYTES else []
    sources: dict[examples.Field, Sequence[Source]] = {
        "image": raw or [_upload(file) for file in image],
        "unlike_image": [_upload(file) for file in unlike_image],
        "like": [*map(parse_reference, (*more_like, *like)), *body.like],
        "unlike": [*map(parse_reference, (*more_unlike, *unlike)), *body.unlike],
    }
    return SentExamples(sources, _parse_weights(weights) if weights else body.weights)


ExamplesDep = Annotated[SentExamples, Depends(get_examples)]


def _parse_body(body: bytes) -> ExamplesIn:
    if len(body) > MAX_JSON_BYTES:
        raise TooLargeError(MAX_JSON_BYTES)
    declared = Declared((), {}, tuple(ExamplesIn.model_fields))
    if wrong := list(json_errors(declared, body)):
        raise RequestValidationError(
            [{"type": "parameter", "loc": ("body", name), "msg": reason} for name, reason in wrong]
        )
    try:
        return ExamplesIn.model_validate_json(body)
    except ValidationError as error:
        raise _in_body(error) from error


def _parse_weights(text: str) -> Weights:
    try:
        return _WEIGHTS.validate_python(json.loads(text, object_pairs_hook=unique_names))
    except ValidationError as error:
        raise _in_body(error, "weights") from error
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, RepeatedNameError) else "is not JSON"
        raise InvalidInputError("weights", f'{reason}. Send an object such as {{"image": [1, 2]}}.') from error


def _in_body(error: ValidationError, *place: str) -> RequestValidationError:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return RequestValidationError([{**one, "loc": ("body", *place, *one["loc"])} for one in found])


def _raw_upload(body: bytes) -> Upload:
    return Upload("", lambda: body)


def _upload(file: UploadFile) -> Upload:
    def read() -> bytes:
        file.file.seek(0)
        return file.file.read()

    return Upload(file.filename or "", read)
