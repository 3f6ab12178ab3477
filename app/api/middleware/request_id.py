"""Request ids, for the `X-Request-ID` header and the log."""

import re
import secrets

HEADER = "X-Request-ID"
# Longer than any format in use, without characters that have a meaning in a log.
_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")


def new_id() -> str:
    """Return a random id of 32 hexadecimal digits."""
    return secrets.token_hex(16)


def valid_or_new_id(request_id: str | None) -> str:
    """Return the id sent by a proxy or client if it is valid, else a new one."""
    return request_id if request_id is not None and _VALID.fullmatch(request_id) else new_id()
