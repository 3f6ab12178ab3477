"""What runs in the process that reads an archive or a table for another one; see `reader.py`.

Started by it alone: `python -m app.ingest.sources.reader_worker JOB SOCKET FILE`. The file is open before the process
is confined, and everything that reading needs is imported.
"""

import codecs
import json
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, TextIO

from app.errors import InvalidInputError
from app.ingest.sources.archive import Archive
from app.ingest.sources.archive_members import ArchiveLimits, ArchiveRefusedError
from app.ingest.sources.items import Entry, UnusableError
from app.ingest.sources.reader_protocol import Frame, write_frame
from app.ingest.sources.table import Table, TableLimits
from app.search.decode.confinement import confine

# What is read has at most this many lists and objects in each other, far fewer than the other side can parse.
_DEPTH = 400
# Seconds of processor time between the signal that says which limit was passed and the one that nothing survives.
_GRACE_S = 5
# Signals that a whole group of processes gets when the service stops; the service itself ends this process.
_NOT_FOR_US = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Confine this process, then read and write frames until everything is read."""
    job, connection = json.loads(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    with os.fdopen(int(sys.argv[3]), "rb") as file, connection.makefile("wb") as stream:
        _prepare(job["cpu_seconds"])
        confine(job["memory"])
        threading.Thread(target=_exit_with_the_other_side, args=(connection,), daemon=True).start()
        write_frame(stream, {"is": "ready"})
        stream.flush()
        _answer(job, file, stream)


def _prepare(cpu_seconds: int) -> None:
    """Do what a confined process cannot: load what is loaded at its first use, and set limits of its own."""
    for encoding in ("utf-8-sig", "cp437"):
        codecs.lookup(encoding)
    for number in _NOT_FOR_US:
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + _GRACE_S))
    sys.setrecursionlimit(_DEPTH)


def _exit_with_the_other_side(connection: socket.socket) -> None:
    """End this process when the other one has ended or hung up, whatever is being read."""
    # It is a reset where the other process was killed with frames unread.
    with suppress(OSError):
        connection.recv(1)
    os._exit(0)


def _answer(job: Mapping[str, Any], file: BinaryIO, stream: BinaryIO) -> None:
    try:
        last: Mapping[str, Any] = _send(_frames(job, file), stream)
    except ArchiveRefusedError as error:
        last = {"is": "refused", "reason": str(error)}
    except InvalidInputError as error:
        last = {"is": "invalid", "field": error.field, "reason": error.reason}
    except MemoryError:
        last = {"is": "memory"}
    # Whatever else goes wrong must not look like the end, and its cause belongs into the log of the other side.
    except Exception as error:
        last = {"is": "broken", "reason": f"{type(error).__name__}: {error}"[:1000]}
    write_frame(stream, last)
    stream.flush()


def _send(frames: Iterator[Frame], stream: BinaryIO) -> dict[str, Any]:
    for header, data in frames:
        try:
            write_frame(stream, header, data)
        except (RecursionError, ValueError):
            problem = "What is said of it is too long, or its values lie too deep in each other."
            write_frame(stream, {**header, "key": header["key"][:1000], "given": {}, "problem": problem})
        # Bytes are waited for; headers alone may wait until there are more.
        if data or header["is"] == "total":
            stream.flush()
    return {"is": "end"}


def _frames(job: Mapping[str, Any], file: BinaryIO) -> Iterator[Frame]:
    if job["kind"] == "archive":
        return _of_archive(Archive(file, ArchiveLimits(**job["limits"]), job["name"]), job["first"])
    return _of_table(Table(job["name"], job["kind"], lambda: _opened(file), TableLimits(**job["limits"])))


def _of_archive(archive: Archive, first: int) -> Iterator[Frame]:
    yield Frame({"is": "total", "total": archive.count(), "damage": archive.damage})
    sent: bytes | None = None
    for number, entry in enumerate(archive.entries(first)):
        about = {"is": "entry", "name": entry.name, "key": entry.key, "given": entry.given}
        if number < first:
            yield Frame(about)
            continue
        data = _bytes_or_problem(entry)
        if isinstance(data, str):
            yield Frame({**about, "problem": data})
        elif data is sent:
            # Several rows may name one file.
            yield Frame({**about, "again": True})
        else:
            yield Frame(about, data)
            sent = data


def _of_table(table: Table) -> Iterator[Frame]:
    yield Frame({"is": "total", "total": sum(1 for _ in table), "damage": None})
    for row in table:
        about = {"is": "row", "line": row.line, "file": row.file, "key": row.key, "given": row.given}
        yield Frame(about if row.problem is None else {**about, "problem": row.problem})


def _bytes_or_problem(entry: Entry) -> bytes | str:
    try:
        return entry.read()
    except UnusableError as error:
        return str(error)


def _opened(file: BinaryIO) -> TextIO:
    file.seek(0)
    return os.fdopen(file.fileno(), encoding="utf-8-sig", newline="", closefd=False)


if __name__ == "__main__":
    main()
