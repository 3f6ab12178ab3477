"""Exceptions of the client. Their text is a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass


class ClientError(Exception):
    """Base class of the client's exceptions."""


class InvalidInputError(ClientError):
    """A value passed to the client cannot be used.

    Attributes:
        field: the parameter's name.
        reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field, self.reason = field, reason


@dataclass(frozen=True)
class FieldError:
    """Error in one field or parameter of a request."""

    field: str
    reason: str


class ProblemError(ClientError):
    """Error response (RFC 9457), or a response that does not come from Lookalike.

    Attributes:
        status: the HTTP status.
        code: the kind of error, such as `rate_limited`; None if the response is not from Lookalike.
        title: the kind of error, for people.
        detail: what is wrong, as a sentence.
        errors: the invalid fields.
        retry_after: seconds to wait before another attempt; None if the response has none.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        retry_after: float | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(detail or f"The service responded with {status} {title}".rstrip() + ".")
        self.status, self.title, self.detail, self.code = status, title, detail, code
        self.errors, self.retry_after = errors, retry_after


class UnreachableError(ClientError):
    """No attempt received a readable response."""

    def __init__(self, url: str, cause: str) -> None:
        super().__init__(f"{url} does not respond: {cause}. Check that the service is running there.")
        self.url = url
