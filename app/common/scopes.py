"""Scopes of API keys."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key allows; `admin` includes the others."""

    SEARCH = "search"
    WRITE = "write"
    ADMIN = "admin"
