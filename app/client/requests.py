"""A request and its answer, before and after anything of HTTP's own: what both clients send and hand back."""

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from pydantic import TypeAdapter

from app.client.errors import FieldProblem, ProblemError
from app.client.patience import retry_after

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
            ProblemError: it says what went wrong.
        """
        self.require()
        return kind.validate_json(self.body)

    def require(self) -> None:
        """Makes sure that the request was granted.

        Raises:
            ProblemError: it was not.
        """
        if self.status >= HTTPStatus.BAD_REQUEST:
            raise problem(self)


# What a call does: it yields requests, is sent their replies, and returns a result.
Steps = Generator[Request, Reply, T]


def headers(key: str | None) -> dict[str, str]:
    """Returns what every request carries."""
    return {"Authorization": f"Bearer {key}"} if key else {}


def reply_of(response: httpx2.Response, *, repeated: bool) -> Reply:
    """Returns httpx2's answer as ours."""
    return Reply(response.status_code, response.headers, response.content, repeated)


def problem(reply: Reply) -> ProblemError:
    """Returns the problem that an answer describes; something in front of the service may answer in other words."""
    try:
        said = json.loads(reply.body)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        said = {"detail": reply.body.decode(errors="replace").strip()[:500]}
    errors = tuple(FieldProblem(str(one.get("field")), str(one.get("reason"))) for one in said.get("errors", ()))
    title, detail = str(said.get("title", "")), str(said.get("detail", ""))
    return ProblemError(reply.status, title, detail, errors, retry_after(reply.headers))
