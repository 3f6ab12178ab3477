"""What can go wrong, as exceptions that carry data.

Each one's text is a sentence for a person: what is wrong and what to do. No HTTP here: `app/api/problems.py`
turns these into problem+json, and the command line prints them.
"""

import math


class LookalikeError(Exception):
    """Base of everything that the project raises on purpose."""


class InvalidInputError(LookalikeError):
    """A value that somebody gave cannot be used.

    Attributes:
        field: the parameter, form field or option that it came in.
        reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


class PictureRefusedError(LookalikeError):
    """Bytes that are not a picture which can be used.

    Attributes:
        code: which of the image errors of `ProblemCode` it is, such as `image_damaged`.
        reason: the same for people.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class NotFoundError(LookalikeError):
    """Something asked for by its id is not in the catalogue."""

    def __init__(self, what: str, identifier: int | str) -> None:
        super().__init__(f"There is no {what} {identifier} in the catalogue.")
        self.what = what
        self.identifier = identifier


class TooLargeError(LookalikeError):
    """A request has more bytes than the service takes.

    Attributes:
        limit: the most bytes that it takes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request is larger than {limit:,} bytes, the most this service takes at once.")
        self.limit = limit


class TooSlowError(LookalikeError):
    """A request takes longer to arrive than the service waits.

    Attributes:
        seconds: how long it waits for all of it; None where the request came too slowly before.
        rate: the least bytes a second.
    """

    def __init__(self, seconds: float | None, rate: int) -> None:
        short = f"within {seconds:g} s" if seconds is not None else f"at {rate:,} bytes a second or more"
        super().__init__(f"The request did not arrive {short}. Send it over a faster connection, or send less.")
        self.seconds, self.rate = seconds, rate


class UnauthorisedError(LookalikeError):
    """A request shows no key, or none that is one.

    Attributes:
        shown: whether it showed any.
    """

    def __init__(self, *, shown: bool) -> None:
        super().__init__(
            "The key is not known here; it may have been revoked."
            if shown
            else "This catalogue asks for an API key: send it as Authorization: Bearer KEY."
        )
        self.shown = shown


class ForbiddenError(LookalikeError):
    """The caller may not do this.

    Attributes:
        code: why not, for programs: `insufficient_scope`, `local_only`, `host_not_allowed`, `origin_not_allowed`.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class TooManyRequestsError(LookalikeError):
    """A key exceeds its rate limit.

    Attributes:
        retry_after: seconds after which the next request is within the limit.
    """

    def __init__(self, rate: str, retry_after: int) -> None:
        super().__init__(f"Rate limit exceeded ({rate}). Retry in {retry_after} s.")
        self.retry_after = retry_after


class UnavailableError(LookalikeError):
    """The service cannot do this now, and may be able to later.

    Attributes:
        reason: what is missing.
        retry_after: seconds after which another try makes sense.
    """

    def __init__(self, reason: str, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class CatalogueMovedError(UnavailableError):
    """The catalogue uses another network than the one that was about to answer.

    Attributes:
        generation_id: what it uses now; None for nothing at all.
    """

    def __init__(self, generation_id: int | None) -> None:
        super().__init__("The catalogue now uses another network. Restart the service to use it.")
        self.generation_id = generation_id


class OverloadedError(UnavailableError):
    """A process has as many requests as it takes, from this caller or from all.

    Attributes:
        bytes_held: whether their bytes are too many, not their number.
    """

    def __init__(self, *, bytes_held: bool = False) -> None:
        what = "as many bytes of requests and responses in memory" if bytes_held else "as many requests under way"
        super().__init__(f"The service has {what} as it takes from you or from all. Try again in a moment.", 1)
        self.bytes_held = bytes_held


class DecodingUnavailableError(UnavailableError):
    """Pictures cannot be decoded now, which is no fault of theirs: the machine is too busy, or no process starts."""


class StatementTimeoutError(UnavailableError):
    """The database worked on a statement for as long as one may take, and gave it up.

    Attributes:
        seconds: how long that is.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The database did not finish within {seconds:g} s, and what was asked was given up. Ask for less, such as "
            "a filter with fewer comparisons, or ask again when the service is less busy. "
            "LOOKALIKE_STATEMENT_TIMEOUT_SECONDS allows more.",
            retry_after=math.ceil(seconds),
        )
        self.seconds = seconds


class CallerLeftError(UnavailableError):
    """The client hung up, and what the database did for it was cancelled."""

    def __init__(self) -> None:
        super().__init__("The client left before the answer was ready.")


class DamagedOriginalError(LookalikeError):
    """A picture's original is missing on disk or cannot be read."""

    def __init__(self, picture_id: int, key: str) -> None:
        super().__init__(
            f"The original of picture {picture_id} ({key}) is missing or damaged. Run `lookalike check --repair`, then "
            "add the picture again, or delete it."
        )
        self.picture_id, self.key = picture_id, key


class ModelMismatchError(LookalikeError):
    """The catalogue was encoded by another network than the one that was asked for."""
