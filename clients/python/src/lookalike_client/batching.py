"""Batch images into requests, and shrink the batches after a request was too large."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# The service's timeout for reading a request is a minute: at 2 Mbit/s, two concurrent requests of this size meet it.
MAX_BATCH_IMAGES, MAX_BATCH_BYTES = 50, 6_000_000
# Keys in a filter, and their characters as JSON: the service accepts 256 values and 8,192 characters.
MAX_FILTER_KEYS, MAX_FILTER_CHARACTERS = 200, 6000
# Request timeout, content too large: a smaller request may succeed.
SPLIT_STATUSES = (408, 413)


@dataclass(frozen=True)
class EncodedImage:
    """An image ready to send.

    Attributes:
        data: the file's bytes.
        key: its key; None if it has none.
        fields: key, label and metadata, as JSON.
    """

    data: bytes
    key: str | None
    fields: str

    @property
    def size(self) -> int:
        """Its bytes in a request; at least the two of an empty JSON object."""
        return len(self.data) + len(self.fields)


def key_batches(keys: Iterable[str]) -> Iterator[list[str]]:
    """Yield distinct keys in batches that fit into a filter; a longer key is a batch of its own."""
    batch: list[str] = []
    size = 0
    for key in dict.fromkeys(keys):
        length = len(json.dumps(key)) + 2
        if batch and (len(batch) == MAX_FILTER_KEYS or size + length > MAX_FILTER_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(key)
        size += length
    if batch:
        yield batch


class BatchLimit:
    """Maximum bytes of images in a request. Shared by all calls of a client; thread-safe.

    It only shrinks, so a size that the service or a proxy has rejected is not tried again.
    """

    def __init__(self) -> None:
        self.bytes = MAX_BATCH_BYTES

    def shrink(self, rejected: int) -> None:
        """Lower the limit to half of a rejected request's size in bytes."""
        self.bytes = min(self.bytes, rejected // 2)

    def batches(self, images: Iterable[EncodedImage]) -> Iterator[list[EncodedImage]]:
        """Yield images in batches within the limit, in order; a larger image is a batch of its own."""
        batch: list[EncodedImage] = []
        size = 0
        for image in images:
            if batch and (len(batch) == MAX_BATCH_IMAGES or size + image.size > self.bytes):
                yield batch
                batch, size = [], 0
            batch.append(image)
            size += image.size
        if batch:
            yield batch
