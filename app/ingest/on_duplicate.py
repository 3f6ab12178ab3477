"""What an addition does with a file that the catalogue already has under another key."""

from enum import StrEnum


class OnDuplicate(StrEnum):
    """Whether a file is added that the catalogue already has under another key.

    It concerns new keys only: an existing key always gets the bytes that are sent for it.
    """

    ADD = "add"
    SKIP = "skip"
