"""Environment variables of settings: renamed and unknown ones."""

from collections.abc import Iterable
from difflib import get_close_matches

from app.errors import LookalikeError

PREFIX = "LOOKALIKE_"
# Names up to version 0.3.0. A variable with an old name would be ignored, and originals might be stored elsewhere.
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


def reject_renamed_variables(names: Iterable[str]) -> None:
    """Reject environment variables with a setting's name of an earlier version.

    Args:
        names: names of variables, in either case.

    Raises:
        LookalikeError: a variable has an old name; the message gives the new one.
    """
    renamed = {variable(old): variable(new) for old, new in RENAMED.items()}
    outdated = sorted({name.upper() for name in names} & renamed.keys())
    if outdated:
        sentences = [f"{name} is now called {renamed[name]}." for name in outdated]
        raise LookalikeError(" ".join([*sentences, "Rename it in the environment or in .env."]))


def unknown_variable_warnings(names: Iterable[str], settings: Iterable[str]) -> list[str]:
    """Return a warning for each unknown variable with the prefix LOOKALIKE_.

    Args:
        names: names of variables, in capitals.
        settings: names of the settings.
    """
    known = [variable(name) for name in settings]
    warnings = []
    for name in sorted(names):
        if name.startswith(PREFIX) and name not in known:
            matches = get_close_matches(name, known, n=1)
            advice = f" Did you mean {matches[0]}?" if matches else ""
            warnings.append(f"{name} is not a setting and has no effect.{advice}")
    return warnings


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"{PREFIX}{name.upper()}"
