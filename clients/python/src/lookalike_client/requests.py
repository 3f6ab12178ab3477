"""Requests and responses of both clients, and the options that several calls share."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from json import dumps
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from lookalike_client.errors import InvalidInputError, ProblemError
from lookalike_client.problems import problem_of, unreadable

T = TypeVar("T")
Parameter = str | int | float | bool


class Filters(TypedDict, total=False):
    """Filters that restrict a call to some images.

    `filter` uses MongoDB's operators: `{"price": {"$lte": 50}}`. `text` are words of key, label or metadata:
    `red "ankle boot" -leather`.
    """

    label: str | None
    filter: Mapping[str, Any] | None
    text: str | None


class ListOptions(Filters, total=False):
    """Filters, and the order of a list: `added`, `key`, `label`, `mixed` or a metadata field, descending after `-`."""

    sort: str | None


class SearchOptions(ListOptions, total=False):
    """Search parameters, described in `GET /docs`; `sort` orders the `k` matches."""

    k: int
    mode: Literal["hds", "bcs", "es"]
    pool: int | None
    radius: int | None
    asymmetric: bool
    min_similarity: float | None
    group_by: str | None
    explain: bool


def parameters_of(options: Mapping[str, Any]) -> dict[str, Parameter | None]:
    """Return options as query parameters, with the filter as JSON."""
    wanted = options.get("filter")
    return {**options, "filter": dumps(wanted) if wanted is not None else None}


@dataclass(frozen=True)
class Request:
    """A request. A file given as a path is opened for each attempt, so that it can be sent again."""

    method: str
    path: str
    params: Mapping[str, Parameter | None] = field(default_factory=dict)
    files: Sequence[tuple[str, str, bytes | Path]] = ()
    data: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    json: Any = None

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """Open the request's files, and yield the arguments of `httpx.Client.request`."""
        with ExitStack() as stack:
            files = [
                (field, (name, stack.enter_context(body.open("rb")) if isinstance(body, Path) else body))
                for field, name, body in self.files
            ]
            yield {
                "method": self.method,
                "url": self.path,
                "params": {name: value for name, value in self.params.items() if value is not None},
                "files": files or None,
                "data": dict(self.data) or None,
                "json": self.json,
            }


@dataclass(frozen=True)
class Response:
    """The response to a request; `retried` is true if the request was sent more than once."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    retried: bool

    def parse(self, adapter: TypeAdapter[T]) -> T:
        """Parse the JSON body.

        Raises:
            ProblemError: the response is an error, or its body does not have the expected type.
        """
        self.raise_for_status()
        try:
            return adapter.validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise unreadable(self.status, f"{place}: {first['msg']}" if place else first["msg"]) from error

    def image(self) -> bytes:
        """Return the body, an image's bytes.

        Raises:
            ProblemError: the response is an error, or not an image.
        """
        self.raise_for_status()
        media_type = self.headers.get("content-type", "")
        if not media_type.lower().startswith("image/"):
            raise unreadable(self.status, f"expected an image, received {media_type or 'no content type'}")
        return self.body

    def require_empty(self) -> None:
        """Check that the response is successful and has no body.

        Raises:
            ProblemError: the response is an error, or has a body.
        """
        self.raise_for_status()
        if self.body:
            raise unreadable(self.status, "expected an empty body")

    def require_deleted(self) -> None:
        """Check that a deletion succeeded: also a 404 if the response to an earlier attempt was lost.

        Raises:
            ProblemError: it did not.
        """
        if not (self.retried and self.status == HTTPStatus.NOT_FOUND):
            self.require_empty()

    def raise_for_status(self) -> None:
        """Check that the status is 200 to 299. Redirects are errors: the client does not follow them.

        Raises:
            ProblemError: it is not.
        """
        if not HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            raise self.problem()

    def problem(self) -> ProblemError:
        """Convert an error response to an exception."""
        return problem_of(self.status, self.headers, self.body)


# A call as a generator: it yields requests, receives their responses, and returns the result.
CallFlow = Generator[Request, Response, T]


def base_url(url: str) -> httpx.URL:
    """Parse the service's address.

    Raises:
        InvalidInputError: it is not an HTTP address.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        reason = f"{url!r} is not a valid URL ({error}). Use one such as http://127.0.0.1:8000."
        raise InvalidInputError("url", reason) from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InvalidInputError("url", f"{url!r} is not an HTTP address{_correction(url)}.")
    return parsed


def _correction(url: str) -> str:
    """Return what to do about an address: how to write it if its scheme or the slashes after that are missing."""
    text = url.strip()
    scheme = next((known for known in ("http:", "https:") if text.lower().startswith(known)), "")
    corrected = f"{scheme or 'http:'}//{text[len(scheme) :].lstrip('/')}"
    with suppress(httpx.InvalidURL):
        if "://" not in url and httpx.URL(corrected).host:
            return f": {'slashes are' if scheme else 'the scheme is'} missing. Use {corrected}"
    return ". Use one such as http://127.0.0.1:8000"


def request_headers(key: str | None) -> dict[str, str]:
    """Return the headers of every request, with the API key if there is one."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def response_of(response: httpx.Response, *, retried: bool) -> Response:
    """Convert a response of httpx."""
    return Response(response.status_code, response.headers, response.content, retried)
