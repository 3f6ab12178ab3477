"""Stable codes of error responses, one per kind of error."""

from enum import StrEnum


class ProblemCode(StrEnum):
    """The kind of an error. Compare this in programs; `detail` is for people and may change."""

    BAD_REQUEST = "bad_request"
    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    CONFLICT = "conflict"
    SELECTION_CHANGED = "selection_changed"
    KEY_IN_USE = "key_in_use"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUEST_TIMEOUT = "request_timeout"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"

    IMAGE_EMPTY = "image_empty"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_MANY_PIXELS = "image_too_many_pixels"
    IMAGE_FORMAT_UNSUPPORTED = "image_format_unsupported"
    IMAGE_DAMAGED = "image_damaged"
    IMAGE_DECODE_TIMEOUT = "image_decode_timeout"
    IMAGE_DECODE_OUT_OF_MEMORY = "image_decode_out_of_memory"
    CROP_OUTSIDE_IMAGE = "crop_outside_image"

    UNAUTHORIZED = "unauthorized"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    LOCAL_ONLY = "local_only"
    HOST_NOT_ALLOWED = "host_not_allowed"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    RATE_LIMITED = "rate_limited"

    OVERLOADED = "overloaded"
    STATEMENT_TIMEOUT = "statement_timeout"
    UNAVAILABLE = "unavailable"
    CLIENT_DISCONNECTED = "client_disconnected"
    INTERNAL_ERROR = "internal_error"


# The codes of `ImageRejectedError`.
IMAGE_CODES = (
    ProblemCode.IMAGE_EMPTY,
    ProblemCode.IMAGE_TOO_LARGE,
    ProblemCode.IMAGE_TOO_MANY_PIXELS,
    ProblemCode.IMAGE_FORMAT_UNSUPPORTED,
    ProblemCode.IMAGE_DAMAGED,
    ProblemCode.IMAGE_DECODE_TIMEOUT,
    ProblemCode.IMAGE_DECODE_OUT_OF_MEMORY,
    ProblemCode.CROP_OUTSIDE_IMAGE,
)


def image_code(code: str) -> ProblemCode:
    """Return the problem code of a rejected image.

    Args:
        code: sent by a decode process. Untrusted, because a malicious image may control that process.
    """
    return ProblemCode(code) if code in IMAGE_CODES else ProblemCode.IMAGE_DAMAGED
