"""From entries to a catalogue: many chunks, several of them under way at once.

While one chunk is in the network another one is decoded and a third one waits for the disk, so that no core is idle.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Literal, Protocol

from app.ingest.pipeline import Added, Upload
from app.ingest.sources.items import Entry, UnusableError, check, sentence, unusable
from app.search.decode.retries import retried


@dataclass(frozen=True)
class Pace:
    """How much is under way.

    Attributes:
        pictures: one chunk, and so one commit, holds at most so many.
        bytes: and so much, unless one picture has more.
        at_once: how many chunks the target is given at once; one or two more are in memory.
    """

    pictures: int
    bytes: int
    at_once: int


# Of a catalogue of this process's own.
HERE = Pace(64, 32_000_000, (os.cpu_count() or 1) + 1)


class Target(Protocol):
    """A catalogue to fill: this process's own, `app.ingest.pipeline.Ingest`, or one behind HTTP."""

    def add(self, uploads: Sequence[Upload]) -> list[Added]:
        """Puts pictures into the catalogue; when this returns they are there for good."""
        ...


@dataclass(frozen=True)
class Outcome:
    """What became of an entry; `reason` says why it was rejected."""

    name: str
    key: str
    status: Literal["created", "updated", "unchanged", "rejected"]
    reason: str | None = None


def fill(
    entries: Iterable[Entry], target: Target, pace: Pace = HERE, *, retry: bool = False
) -> Iterator[list[Outcome]]:
    """Adds entries; yields what became of each, chunk by chunk and in their order.

    Args:
        entries: what to add.
        target: the catalogue.
        pace: how much is under way.
        retry: whether to try again where the machine is too busy to decode pictures.

    Raises:
        LookalikeError: the target cannot be used; what was yielded is there, and the rest may be added again.
    """
    waiting: deque[Future[list[Outcome]]] = deque()
    threads, ending = ThreadPoolExecutor(pace.at_once, "fill"), threading.Event()
    add = partial(_retried, ending, target) if retry else target.add
    try:
        for chunk in chunks(entries, pace):
            waiting.append(threads.submit(_add, chunk, add))
            if len(waiting) > pace.at_once:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        ending.set()
        threads.shutdown(cancel_futures=True)


def unique(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Refuses entries whose key another one before them has: they would replace each other at every run."""
    seen: set[bytes] = set()
    for entry in entries:
        # Keys of others may be long, and there are many of them: what is held of each has a fixed size.
        key = blake2b(entry.key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key in seen:
            yield unusable(entry.name, f"Something before it has the key {entry.key} already.", entry.key)
        else:
            seen.add(key)
            yield entry


def chunks(entries: Iterable[Entry], pace: Pace = HERE) -> Iterator[list[Entry]]:
    """Gathers entries, as many as should be in memory and in one commit."""
    some, size = list[Entry](), 0
    for entry in entries:
        if some and (len(some) == pace.pictures or size + entry.size > pace.bytes):
            yield some
            some, size = [], 0
        some.append(entry)
        size += entry.size
    if some:
        yield some


def _retried(ending: threading.Event, target: Target, uploads: Sequence[Upload]) -> list[Added]:
    return retried(lambda: target.add(uploads), sleep=ending.wait)


def _add(entries: Sequence[Entry], add: Callable[[Sequence[Upload]], list[Added]]) -> list[Outcome]:
    read = [(entry, _upload(entry)) for entry in entries]
    uploads = [upload for _, upload in read if isinstance(upload, Upload)]
    added = iter(add(uploads) if uploads else ())
    return [
        _outcome(entry, next(added)) if isinstance(upload, Upload) else _refusal(entry, upload)
        for entry, upload in read
    ]


def _upload(entry: Entry) -> Upload | str:
    """Reads an entry; returns why not where it cannot be."""
    try:
        check(entry)
        return Upload(entry.read(), entry.key, entry.given)
    except (OSError, UnusableError) as error:
        return sentence(error)


def _outcome(entry: Entry, added: Added) -> Outcome:
    return Outcome(entry.name, entry.key, added.status, added.error)


def _refusal(entry: Entry, reason: str) -> Outcome:
    return Outcome(entry.name, entry.key, "rejected", reason)
