"""What a request is called, in its answer and in the log."""

import re
import secrets

HEADER = "X-Request-ID"
# Longer than any that are in use, and nothing that could be read as something else in a log.
_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")


def new_id() -> str:
    """Makes an id that no other request has: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def usable_id(given: str | None) -> str:
    """Returns the id that a proxy or a program sent along if it can be used, or a new one."""
    return given if given is not None and _SANE.fullmatch(given) else new_id()
