"""Exceptions of the service, with the data that callers need.

The text of each is for people: which input, what is wrong, what to do. Nothing here depends on HTTP:
`app/api/problems.py` turns these into problem+json, and the command line prints them.
"""

import math
from collections.abc import Mapping, Sequence

# Maximum number of ids or keys that a message names.
_MAX_NAMED = 5


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
    """No entry of the catalogue, or of another `place`, has the given id."""

    def __init__(self, what: str, identifier: int | str, place: str = "the catalogue") -> None:
        super().__init__(f"There is no {what} {identifier} in {place}.")
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


class SelectionChangedError(LookalikeError):
    """The images selected for a change are not those that the caller expects.

    Attributes:
        expected, found: the numbers of images that the caller expects, and that the selection has.
        missing: ids and keys that no image has.
    """

    def __init__(self, expected: int, found: int, missing: Sequence[str]) -> None:
        what = (
            f"{_listed(missing)} {'is' if len(missing) == 1 else 'are'} no longer in the catalogue"
            if missing
            else f"the selection has {found:,} images, not the {expected:,} expected"
        )
        super().__init__(f"The catalogue has changed: {what}. Nothing was changed. Load the images again, then repeat.")
        self.expected, self.found, self.missing = expected, found, missing


class NotInTrashError(LookalikeError):
    """No deleted image with a given id, or of a given deletion, can be restored.

    Attributes:
        ids: the ids that are not in the trash.
    """

    def __init__(self, ids: Sequence[int], deletion_id: int | None, days: float) -> None:
        if deletion_id is not None:
            what = f"The deletion {deletion_id} has no images in the trash"
        elif not ids:
            what = "No image to restore is named"
        else:
            what = f"{_listed([str(one) for one in ids])} {'is' if len(ids) == 1 else 'are'} not in the trash"
        kept = f"Deleted images are kept for {days:g} {'day' if days == 1 else 'days'}" if days else "There is no trash"
        super().__init__(f"{what}. {kept} (LOOKALIKE_TRASH_DAYS). Nothing was restored; add the files again instead.")
        self.ids = ids


class KeysInUseError(LookalikeError):
    """Images that cannot be restored, because other images have their keys now.

    Attributes:
        keys: the first of these keys, by the id of the deleted image.
        count: the number of such images.
    """

    def __init__(self, keys: Mapping[int, str], count: int) -> None:
        are = "key is" if count == 1 else "keys are"
        super().__init__(
            f"The {are} in use again: {_listed(list(keys.values()), count)}. Nothing was restored. Delete the new "
            "images, or restore the others with skip_used_keys."
        )
        self.keys, self.count = keys, count


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


def _listed(names: Sequence[str], count: int | None = None) -> str:
    """Return the first names as a list for a sentence, and how many more there are."""
    more = (len(names) if count is None else count) - _MAX_NAMED
    return ", ".join(names[:_MAX_NAMED]) + (f" and {more:,} more" if more > 0 else "")
