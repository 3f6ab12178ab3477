"""Images to add, and the results of adding them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from app.catalogue.metadata_patch import MetadataPatch


class OnDuplicate(StrEnum):
    """Whether a file is added that the catalogue already has under another key.

    It concerns new keys only: an existing key always gets the bytes that are sent for it.
    """

    ADD = "add"
    SKIP = "skip"


# `skipped`: a new key for a file that the catalogue has, with `OnDuplicate.SKIP`.
ItemStatus = Literal["created", "updated", "unchanged", "rejected", "skipped"]


@dataclass(frozen=True)
class Upload:
    """An image to add; its key defaults to the SHA-256 of its bytes."""

    data: bytes
    key: str | None
    patch: MetadataPatch


@dataclass(frozen=True)
class AddResult:
    """The result of an upload.

    Attributes:
        error: why it was rejected.
        code: the stable code of `error`.
        warnings: flaws of a file that was added.
        duplicate_of: if it was created or skipped, the key of another image with the same bytes.
    """

    id: int | None
    key: str
    status: ItemStatus
    error: str | None = None
    code: str | None = None
    warnings: tuple[str, ...] = ()
    duplicate_of: str | None = None
