"""Exceptions of the service, with the data that callers need.

The text of each is for people: which input, what is wrong, what to do. Nothing here depends on HTTP:
`app/api/problems.py` turns these into problem+json, and the command line prints them.
"""

import math
from collections.abc import Mapping


class LookalikeError(Exception):
    """Base class of the service's own exceptions."""


class InvalidInputError(LookalikeError):
    """Invalid value of a parameter, form field or option.

    Attributes:
        field: name of the parameter, form field or option.
        reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class ImageRejectedError(LookalikeError):
    """Image that cannot be decoded or used.

    Attributes:
        code: an image code of `ProblemCode`, such as `image_damaged`.
        reason: explanation for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class InvalidExamplesError(LookalikeError):
    """Examples that a search cannot use.

    Attributes:
        reasons: what is wrong with each of them, by field and position, such as `like.0`.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{place}: {reason}" for place, reason in reasons.items()))
        self.reasons = reasons


class NotFoundError(LookalikeError):
    """No entry of the catalogue has the given id."""

    def __init__(self, what: str, identifier: int | str) -> None:
        super().__init__(f"There is no {what} {identifier} in the catalogue.")
        self.what = what
        self.identifier = identifier


class TooLargeError(LookalikeError):
    """Request body over the size limit.

    Attributes:
        limit: the limit, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request is larger than {limit:,} bytes, the limit of this service. Send less at once.")
        self.limit = limit


class UnreadableBodyError(LookalikeError):
    """Request body that cannot be decoded.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"The request's body {reason}. Send it again, or without Content-Encoding.")
        self.reason = reason


class UnsupportedEncodingError(LookalikeError):
    """Request body with a content encoding other than gzip.

    Attributes:
        encoding: the encoding.
    """

    def __init__(self, encoding: str) -> None:
        super().__init__(f"The Content-Encoding {encoding!r} is not supported. Send the body as gzip, or unencoded.")
        self.encoding = encoding


class TooSlowError(LookalikeError):
    """Request body that arrives too slowly.

    Attributes:
        seconds: time limit of the whole body; None if the transfer rate was too low before it passed.
        rate: minimum transfer rate, in bytes per second.
    """

    def __init__(self, seconds: float | None, rate: int) -> None:
        limit = f"within {seconds:g} s" if seconds is not None else f"at {rate:,} bytes per second or more"
        super().__init__(f"The request did not arrive {limit}. Send it over a faster connection, or send less.")
        self.seconds, self.rate = seconds, rate


class UnauthorisedError(LookalikeError):
    """Request without a valid API key.

    Attributes:
        key_sent: whether the request has a key.
    """

    def __init__(self, *, key_sent: bool) -> None:
        super().__init__(
            "The API key is not valid; it may have been revoked. Use another key."
            if key_sent
            else "This service requires an API key. Send it as Authorization: Bearer KEY."
        )
        self.key_sent = key_sent


class ForbiddenError(LookalikeError):
    """Request that the caller has no permission for.

    Attributes:
        code: `insufficient_scope`, `local_only`, `host_not_allowed` or `origin_not_allowed`.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class TooManyRequestsError(LookalikeError):
    """API key over its rate limit.

    Attributes:
        retry_after: seconds until the next request is within the limit.
    """

    def __init__(self, rate: str, retry_after: int) -> None:
        super().__init__(f"Rate limit exceeded ({rate}). Retry in {retry_after} s.")
        self.retry_after = retry_after


class UnavailableError(LookalikeError):
    """Temporary failure; a later attempt may succeed.

    Attributes:
        reason: what is unavailable.
        retry_after: seconds to wait before the next attempt.
    """

    def __init__(self, reason: str, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class ModelSwitchedError(UnavailableError):
    """The catalogue has switched to another model than the one that handles the request.

    Attributes:
        index_version_id: id of the active index version; None if there is none.
    """

    def __init__(self, index_version_id: int | None) -> None:
        super().__init__("The catalogue now uses another model. Restart the service to use it.")
        self.index_version_id = index_version_id


class OverloadedError(UnavailableError):
    """Concurrency or memory limit reached, by this caller or by all callers.

    Attributes:
        memory: whether the memory limit was reached, rather than the number of concurrent requests.
    """

    def __init__(self, *, memory: bool = False) -> None:
        what = "The memory for requests and responses is in use" if memory else "Too many requests are under way"
        super().__init__(f"{what}. Retry in 1 s.", 1)
        self.memory = memory


class DecodingUnavailableError(UnavailableError):
    """Images cannot be decoded now, valid or not: the machine is too busy, or no decode process starts."""


class StatementTimeoutError(UnavailableError):
    """Database statement cancelled at its time limit.

    Attributes:
        seconds: the limit.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The database did not finish within {seconds:g} s, and the request was cancelled. Simplify it, such as by "
            "a filter with fewer comparisons, or retry when the service is less busy. "
            "LOOKALIKE_STATEMENT_TIMEOUT_SECONDS sets the limit.",
            retry_after=math.ceil(seconds),
        )
        self.seconds = seconds


class ClientDisconnectedError(UnavailableError):
    """The client disconnected, and its database statement was cancelled."""

    def __init__(self) -> None:
        super().__init__("The client disconnected before the response was ready.")


class DamagedOriginalError(LookalikeError):
    """Stored original that is missing or cannot be decoded."""

    def __init__(self, image_id: int, key: str) -> None:
        super().__init__(
            f"The original of image {image_id} ({key}) is missing or damaged. Run `lookalike check --repair`, then "
            "add the image again, or delete it."
        )
        self.image_id, self.key = image_id, key


class ModelMismatchError(LookalikeError):
    """The catalogue was encoded by another model than the requested one."""
