"""Names of settings: their environment variables, those of earlier versions, and misspelt ones."""

from collections.abc import Iterable
from difflib import get_close_matches

from app.errors import LookalikeError

PREFIX = "LOOKALIKE_"
# Names up to version 0.3.0. A variable that still has one would be ignored, and originals, say, stored elsewhere.
RENAMED = {
    "decoders": "decode_workers",
    "index": "index_backend",
    "log": "log_format",
    "max_decode_seconds": "max_decode_cpu_seconds",
    "max_field_bytes": "max_form_field_bytes",
    "max_fields_per_request": "max_form_fields",
    "max_job_bytes": "max_archive_bytes",
    "max_job_entries": "max_archive_entries",
    "max_job_seconds": "archive_upload_timeout_seconds",
    "max_picture_bytes": "max_image_bytes",
    "max_picture_pixels": "max_image_pixels",
    "max_request_seconds": "request_read_timeout_seconds",
    "max_requests": "max_concurrent_requests",
    "pictures": "storage_url",
    "pool": "search_pool",
    "precision": "inference_precision",
    "rate": "rate_limit",
    "vectors": "vector_dtype",
}


def require_current_names(names: Iterable[str]) -> None:
    """Refuses variables that have a setting's name of an earlier version.

    Args:
        names: of variables, in either case.

    Raises:
        LookalikeError: at least one has; the text names its new name.
    """
    renamed = {variable(old): variable(new) for old, new in RENAMED.items()}
    found = sorted({name.upper() for name in names} & renamed.keys())
    if found:
        sentences = [f"{name} is now called {renamed[name]}." for name in found]
        raise LookalikeError(" ".join([*sentences, "Rename it in the environment or in .env."]))


def misspelt(names: Iterable[str], settings: Iterable[str]) -> list[str]:
    """Returns a warning for each variable with the prefix that is not one of the settings.

    Args:
        names: of variables, in capitals.
        settings: the settings' names.
    """
    known = [variable(name) for name in settings]
    sentences = []
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known:
            near = get_close_matches(name, known, n=1)
            advice = f" Did you mean {near[0]}?" if near else ""
            sentences.append(f"{name} is not a setting and changes nothing.{advice}")
    return sentences


def variable(name: str) -> str:
    """Returns the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"
