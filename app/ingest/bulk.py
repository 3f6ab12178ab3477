"""Bulk loader: add the entries of a source in chunks, several of them in parallel.

While one chunk is encoded, another is decoded and a third waits for the disk, so that no core is idle.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b
from typing import Literal, Protocol

from app.common.unicode_names import nfc
from app.ingest.pipeline import AddResult, Upload
from app.ingest.sources.items import Entry, UnusableError, describe_error, require_storable, unusable
from app.search.decode.retries import retry_while_unavailable


@dataclass(frozen=True)
class BatchConfig:
    """Chunk size and concurrency.

    Attributes:
        pictures: the maximum number of images in a chunk; a chunk is one commit.
        bytes: the maximum size of a chunk; a larger image is a chunk by itself.
        at_once: the number of chunks that are added in parallel; one or two more are in memory.
    """

    max_images: int
    max_bytes: int
    concurrency: int


# For a catalogue in this process.
LOCAL_BATCHES = BatchConfig(64, 32_000_000, (os.cpu_count() or 1) + 1)


class IngestTarget(Protocol):
    """A catalogue that accepts images: `app.ingest.pipeline.IngestPipeline`, or a service over HTTP."""

    def add(self, uploads: Sequence[Upload]) -> list[AddResult]:
        """Add or replace images; when it returns, they are stored durably."""
        ...


@dataclass(frozen=True)
class Outcome:
    """The result of an entry; `reason` is set if it was rejected, `warnings` are flaws of a file that was added."""

    name: str
    key: str
    status: Literal["created", "updated", "unchanged", "rejected"]
    reason: str | None = None
    warnings: tuple[str, ...] = ()


def bulk_add(
    entries: Iterable[Entry], target: IngestTarget, pace: BatchConfig = LOCAL_BATCHES, *, retry: bool = False
) -> Iterator[list[Outcome]]:
    """Add entries; yield their outcomes chunk by chunk, in order.

    Args:
        entries: the entries to add.
        target: the catalogue.
        pace: chunk size and concurrency.
        retry: whether to retry if the machine is too busy to decode images.

    Raises:
        LookalikeError: the target cannot be used; yielded entries are stored, the others may be added again.
    """
    pending: deque[Future[list[Outcome]]] = deque()
    threads, stopping = ThreadPoolExecutor(pace.concurrency, "fill"), threading.Event()
    add = partial(_add_with_retries, stopping, target) if retry else target.add
    try:
        for chunk in chunks(entries, pace):
            pending.append(threads.submit(_add, chunk, add))
            if len(pending) > pace.concurrency:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        stopping.set()
        threads.shutdown(cancel_futures=True)


def reject_duplicate_keys(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Reject entries with the key of an earlier entry: they would replace each other on every run.

    Keys are compared, and yielded, in normalisation form C, as the catalogue stores them.
    """
    seen: set[bytes] = set()
    for given in entries:
        entry = given if given.key.isascii() else replace(given, key=nfc(given.key))
        # Hashes, because keys may be many and long.
        key = blake2b(entry.key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key in seen:
            yield unusable(
                entry.name, f"An earlier entry has the same key: {entry.key}. Remove one of them.", entry.key
            )
        else:
            seen.add(key)
            yield entry


def chunks(entries: Iterable[Entry], pace: BatchConfig = LOCAL_BATCHES) -> Iterator[list[Entry]]:
    """Group entries into chunks of limited number and size."""
    chunk, size = list[Entry](), 0
    for entry in entries:
        if chunk and (len(chunk) == pace.max_images or size + entry.size > pace.max_bytes):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += entry.size
    if chunk:
        yield chunk


def _add_with_retries(stopping: threading.Event, target: IngestTarget, uploads: Sequence[Upload]) -> list[AddResult]:
    return retry_while_unavailable(lambda: target.add(uploads), sleep=stopping.wait)


def _add(entries: Sequence[Entry], add: Callable[[Sequence[Upload]], list[AddResult]]) -> list[Outcome]:
    read = [(entry, _upload(entry)) for entry in entries]
    uploads = [upload for _, upload in read if isinstance(upload, Upload)]
    added = iter(add(uploads) if uploads else ())
    return [
        _outcome(entry, next(added)) if isinstance(upload, Upload) else _rejected(entry, upload)
        for entry, upload in read
    ]


def _upload(entry: Entry) -> Upload | str:
    """Read an entry; return the reason if it cannot be used."""
    try:
        require_storable(entry)
        return Upload(entry.read(), entry.key, entry.given)
    except (OSError, UnusableError) as error:
        return describe_error(error)


def _outcome(entry: Entry, added: AddResult) -> Outcome:
    return Outcome(entry.name, entry.key, added.status, added.error, added.warnings)


def _rejected(entry: Entry, reason: str) -> Outcome:
    return Outcome(entry.name, entry.key, "rejected", reason)
