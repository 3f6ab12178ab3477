"""A request and its answer, before and after anything of HTTP's own: what both clients send and hand back."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import TypeAdapter, ValidationError

from lookalike_client.errors import ProblemError
from lookalike_client.problems import refusal, unreadable

T = TypeVar("T")
Parameter = str | int | float | bool


@dataclass(frozen=True)
class Request:
    """One request; a file that is given as a path is opened when it is sent, so that it can be sent again."""

    method: str
    path: str
    params: Mapping[str, Parameter | None] = field(default_factory=dict)
    files: Sequence[tuple[str, str, bytes | Path]] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    json: Any = None

    @contextmanager
    def opened(self) -> Iterator[dict[str, Any]]:
        """Yields the request as arguments of httpx2, with its files open."""
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
class Reply:
    """The answer to a request; `repeated` tells whether the request was sent more than once."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    repeated: bool

    def read(self, kind: TypeAdapter[T]) -> T:
        """Returns what the answer says.

        Raises:
            ProblemError: it says what went wrong, or nothing that can be read as that.
        """
        self.require()
        try:
            return kind.validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise unreadable(self.status, f"{place}: {first['msg']}" if place else first["msg"]) from error

    def picture(self) -> bytes:
        """Returns the bytes of the picture that the answer is.

        Raises:
            ProblemError: it says what went wrong, or is no picture.
        """
        self.require()
        kind = self.headers.get("content-type", "")
        if not kind.lower().startswith("image/"):
            raise unreadable(self.status, f"it should be a picture, and is {kind or 'nothing that has a name'}")
        return self.body

    def nothing(self) -> None:
        """Makes sure that the answer says nothing but that the request was granted.

        Raises:
            ProblemError: it says what went wrong, or something else.
        """
        self.require()
        if self.body:
            raise unreadable(self.status, "it should be empty, and is not")

    def require(self) -> None:
        """Makes sure that the request was granted; a redirect does not grant it, and nobody follows that.

        Raises:
            ProblemError: it was not.
        """
        if not HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES:
            raise self.refusal()

    def refusal(self) -> ProblemError:
        """Returns what an answer that grants nothing says went wrong."""
        return refusal(self.status, self.headers, self.body)


# What a call does: it yields requests, is sent their replies, and returns a result.
Steps = Generator[Request, Reply, T]


def headers(key: str | None) -> dict[str, str]:
    """Returns what every request carries."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def reply_of(response: httpx2.Response, *, repeated: bool) -> Reply:
    """Returns httpx2's answer as ours."""
    return Reply(response.status_code, response.headers, response.content, repeated)
