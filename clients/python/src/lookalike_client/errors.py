"""What a call can fail with: a problem that the service describes, or no answer at all."""

from dataclasses import dataclass

from app.errors import LookalikeError


@dataclass(frozen=True)
class FieldProblem:
    """What is wrong with one field or parameter."""

    field: str
    reason: str


class ProblemError(LookalikeError):
    """The service refused, and said why (RFC 9457); or something else answered in its place, and `detail` says so.

    Attributes:
        status: of HTTP.
        title: what kind of problem it is.
        detail: what is wrong, as a sentence.
        errors: the fields that are wrong.
        retry_after: seconds after which another try makes sense, where the service says so.
    """

    def __init__(
        self, status: int, title: str, detail: str, errors: tuple[FieldProblem, ...], retry_after: float | None
    ) -> None:
        super().__init__(detail or f"The service answered {status} {title}".rstrip() + ".")
        self.status, self.title, self.detail = status, title, detail
        self.errors, self.retry_after = errors, retry_after


class UnreachableError(LookalikeError):
    """No answer came that could be read, however often the call was repeated."""

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(f"{address} does not answer: {cause}. Is the service running there?")
        self.address = address
