"""A reader process that misbehaves as the names of an archive's files say."""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import PurePosixPath
from types import SimpleNamespace
from typing import BinaryIO, cast

from app.errors import InvalidInputError
from app.ingest.sources import reader_protocol, reader_worker
from app.ingest.sources.archives.archive import Archive
from app.ingest.sources.items import Entry

Frames = dict[str, list[bytes]]
ANSWERS: Frames = {
    "floods": [reader_protocol.LENGTHS.pack(10, 2**32 - 1)],
    "long": [reader_protocol.LENGTHS.pack(2**32 - 1, 0)],
    "nonsense": [reader_protocol.LENGTHS.pack(3, 0), b"{}!"],
    "nested": [reader_protocol.LENGTHS.pack(200_000, 0), b"[" * 200_000],
    "typeless": [reader_protocol.LENGTHS.pack(2, 0), b"{}"],
    "wrong": [reader_protocol.LENGTHS.pack(42, 0), b'{"is":"entry","name":"a","key":7,"given":0}'[:42]],
    "given": [reader_protocol.LENGTHS.pack(50, 0), b'{"is":"entry","name":"a","key":"a","given":[1,2]}'.ljust(50)],
}


def harm(name: str) -> None:
    """Misbehave as a file's name says."""
    kept = list[bytearray]()
    match PurePosixPath(name).stem:
        case "crash":
            ctypes.string_at(0)
        case "abort":
            os.abort()
        case "killed":
            os.write(KILLER[0], b"!")
            time.sleep(60)
        case "busy":
            while True:
                pass
        case "greedy":
            while True:
                kept.append(bytearray(10_000_000))
        case "bug":
            raise ZeroDivisionError("a bug")
        case "environment":
            raise InvalidInputError("environment", str(sorted(os.environ)))
        case "writes":
            os.write(os.open("written", os.O_WRONLY | os.O_CREAT), b"x" * 100)
        case stem if stem in ANSWERS:
            stream = cast("SimpleNamespace", STREAM[0])
            for part in ANSWERS[stem]:
                stream.write(part)
            stream.flush()
            signal.pause()


STREAM: list[object] = []
# A pipe to the process that kills this one, because a confined process cannot send signals.
KILLER: list[int] = []


def start_killer() -> None:
    """Start a process that kills this one on request, and exits with it."""
    request, trigger = os.pipe()
    victim = os.getpid()
    if os.fork() == 0:
        os.closerange(3, request)
        os.closerange(request + 1, 100)
        if os.read(request, 1):
            os.kill(victim, signal.SIGKILL)
        os._exit(0)
    os.close(request)
    KILLER.append(trigger)


class Harmful(Archive):
    """Misbehaves when an entry is reached, or while entries are counted."""

    def count(self) -> int:
        for entry in super().entries():
            if entry.key.startswith("count/"):
                harm(entry.key)
        return super().count()

    def entries(self, first: int = 0) -> Iterator[Entry]:
        for entry in super().entries(first):
            harm(entry.key)
            yield entry


def answer(job: dict[str, object], file: BinaryIO, stream: BinaryIO) -> None:
    STREAM.append(stream)
    plain(job, file, stream)


plain = reader_worker._answer

if __name__ == "__main__":
    vars(reader_worker).update(Archive=Harmful, _answer=answer)
    start_killer()
    reader_worker.main()
