"""Main module of the reader process; see `reader.py`.

Started as `python -m app.ingest.sources.reader_worker JOB SOCKET FILE`. The file is opened, and all modules are
imported, before the process is confined.
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
from typing import Any, BinaryIO

from app.errors import InvalidInputError
from app.ingest.sources.archives.archive import Archive
from app.ingest.sources.archives.members import ArchiveLimits, ArchiveRefusedError
from app.ingest.sources.items import Entry, UnusableError
from app.ingest.sources.reader_protocol import Frame, write_frame
from app.ingest.sources.table import Table, TableLimits
from app.ingest.sources.table_dialect import ENCODINGS
from app.search.decode.confinement import confine

# Maximum nesting of JSON values, far below what the service can parse.
_MAX_DEPTH = 400
# Seconds of processor time from SIGXCPU, which identifies the limit, to SIGKILL.
_GRACE_S = 5
# Signals to the process group when the service stops; the service itself ends this process.
_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> None:
    """Confine this process, then read the file and write frames."""
    job, connection = json.loads(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    with os.fdopen(int(sys.argv[3]), "rb") as file, connection.makefile("wb") as stream:
        _prepare(job["cpu_seconds"])
        confine(job["memory"])
        threading.Thread(target=_exit_with_service, args=(connection,), daemon=True).start()
        write_frame(stream, {"is": "ready"})
        stream.flush()
        _answer(job, file, stream)


def _prepare(cpu_seconds: int) -> None:
    """Do what a confined process cannot: load lazily imported codecs, set signal handlers and limits."""
    for encoding in (*ENCODINGS, "cp437"):
        codecs.lookup(encoding)
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + _GRACE_S))
    sys.setrecursionlimit(_MAX_DEPTH)


def _exit_with_service(connection: socket.socket) -> None:
    """Exit as soon as the service closes the connection or ends."""
    # A reset, if the service was killed with unread frames.
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
    # Any other error is reported to the service, which logs it.
    except Exception as error:
        last = {"is": "broken", "reason": f"{type(error).__name__}: {error}"[:1000]}
    write_frame(stream, last)
    stream.flush()


def _send(frames: Iterator[Frame], stream: BinaryIO) -> dict[str, Any]:
    for header, data in frames:
        try:
            write_frame(stream, header, data)
        except (RecursionError, ValueError):
            problem = "The metadata is too long or nested too deeply."
            write_frame(stream, {**header, "key": header["key"][:1000], "given": {}, "problem": problem})
        # Flush frames with bytes; headers alone may be buffered.
        if data or header["is"] == "total":
            stream.flush()
    return {"is": "end"}


def _frames(job: Mapping[str, Any], file: BinaryIO) -> Iterator[Frame]:
    if job["kind"] == "archive":
        return _archive_frames(Archive(file, ArchiveLimits(**job["limits"]), job["name"]), job["first"])
    return _table_frames(Table(job["name"], job["kind"], lambda: _reopen(file), TableLimits(**job["limits"])))


def _archive_frames(archive: Archive, first: int) -> Iterator[Frame]:
    yield Frame(
        {"is": "total", "total": archive.count(), "damage": archive.damage, "left_out": archive.left_out.to_json()}
    )
    sent: bytes | None = None
    for number, entry in enumerate(archive.entries(first)):
        header = {"is": "entry", "name": entry.name, "key": entry.key, "given": entry.given}
        if number < first:
            yield Frame(header)
            continue
        data = _bytes_or_problem(entry)
        if isinstance(data, str):
            yield Frame({**header, "problem": data})
        elif data is sent:
            # Several rows may refer to the same file.
            yield Frame({**header, "again": True})
        else:
            yield Frame(header, data)
            sent = data


def _table_frames(table: Table) -> Iterator[Frame]:
    yield Frame({"is": "total", "total": sum(1 for _ in table), "damage": None})
    for row in table:
        header = {"is": "row", "line": row.line, "file": row.file, "key": row.key, "given": row.given}
        yield Frame(header if row.problem is None else {**header, "problem": row.problem})


def _bytes_or_problem(entry: Entry) -> bytes | str:
    try:
        return entry.read()
    except UnusableError as error:
        return str(error)


def _reopen(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return os.fdopen(file.fileno(), "rb", closefd=False)


if __name__ == "__main__":
    main()
