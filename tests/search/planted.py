"""A decode process in which pictures can do harm: their first six bytes say which.

Run with `no-landlock` or `no-seccomp` before the job, it behaves as on a kernel without them.
"""

import ctypes
import errno
import mmap
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

from app.errors import PictureRefusedError
from app.search.decode import landlock, prepare
from app.search.decode import seccomp as system_calls
from app.search.decode import worker as sandboxed
from app.search.decode.image import Crop, DecodeLimits, Picture, decode
from app.search.decode.process import REPLY

SYSTEM_CALL = ctypes.CDLL(None, use_errno=True).syscall
# Numbers of x86-64.
SHMGET, KEYCTL, CONNECT, PTRACE, PROCESS_VM_READV, IO_URING_SETUP = 29, 250, 42, 101, 310, 425
PTRACE_SEIZE = 0x4206


def attempts(file: Path) -> dict[str, Callable[[], object]]:
    """What code that took over a decoder might try, by name; `file` is one that it is after.

    Nothing here does harm where it is not prevented.
    """
    parent = os.getppid()
    new = file.parent / "new"
    return {
        "read a file": file.read_bytes,
        "find a file": lambda: os.open(file, os.O_PATH),
        "list a folder": lambda: list(file.parent.iterdir()),
        "look at a file": file.stat,
        "change a file's mode": lambda: file.chmod(0o400),
        "change a file's times": lambda: os.utime(file),
        "cut off a file": lambda: os.truncate(file, 0),
        "delete a file": file.unlink,
        "rename a file": lambda: file.rename(new),
        "link a file": lambda: new.hardlink_to(file),
        "make a folder": new.mkdir,
        "read the parent's memory": lambda: Path(f"/proc/{parent}/mem").open("rb"),
        "read the parent's environment": Path(f"/proc/{parent}/environ").read_bytes,
        "write its own memory": lambda: Path("/proc/self/mem").open("r+b"),
        "run code that it wrote": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "share memory": lambda: called(SHMGET, 0, 4096, 0o600),
        "read a key of the kernel": lambda: called(KEYCTL, 0, -3, 0),
        "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "open a datagram socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "open a local socket": lambda: socket.socket(socket.AF_UNIX),
        "connect a descriptor that it has": lambda: called(CONNECT, 3, bytes(16), 16),
        "run a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - it never gets that far
        "make a process": os.fork,
        "signal the parent": lambda: os.kill(parent, 0),
        "trace the parent": lambda: called(PTRACE, PTRACE_SEIZE, parent, 0, 0),
        "copy the parent's memory": lambda: called(PROCESS_VM_READV, parent, 0, 0, 0, 0, 0),
        "ask for asynchronous calls": lambda: called(IO_URING_SETUP, 1, bytes(120)),
    }


def called(number: int, *arguments: object) -> int:
    """Makes a system call by its number."""
    result: int = SYSTEM_CALL(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attempted(what: str, file: Path) -> str:
    """Tries it, in a thread too; says how it ended: `done`, or the error."""
    outcomes: list[str] = []

    def attempt_it() -> None:
        try:
            attempts(file)[what]()
            outcomes.append("done")
        except OSError as error:
            outcomes.append(errno.errorcode[error.errno or 0])

    attempt_it()
    thread = Thread(target=attempt_it)
    thread.start()
    thread.join()
    return ", ".join(outcomes)


def without(means: str) -> None:
    """Has this process find a kernel that lacks something."""

    def lacks() -> int:
        raise OSError(errno.ENOSYS, "planted")

    vars({"no-landlock": landlock, "no-seccomp": system_calls}[means])["restrict"] = lacks


def exhausts_memory(_: bytes) -> None:
    kept = []
    while True:
        kept.append(bytearray(50_000_000))


def writes(path: bytes) -> None:
    os.write(os.open(path, os.O_WRONLY | os.O_CREAT), b"x" * 100)


def computes(seconds: bytes) -> None:
    until = time.process_time() + float(seconds)
    while time.process_time() < until:
        pass
    raise PictureRefusedError("told", "computed")


def tells(_: bytes) -> None:
    raise PictureRefusedError("told", str(sorted(os.environ)))


def tries(which: bytes) -> None:
    what, path = which.decode().split("|")
    raise PictureRefusedError("told", attempted(what, Path(path)))


def answers(parts: list[bytes]) -> None:
    """From the next picture on."""
    vars(sandboxed)["answer"] = lambda *_args, **_options: parts


HARMS: dict[bytes, Callable[[bytes], object]] = {
    b"crash ": lambda _: ctypes.string_at(0),
    b"abort ": lambda _: os.abort(),
    b"killed": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    b"hang  ": lambda _: time.sleep(600),
    b"spins ": computes,
    b"greedy": exhausts_memory,
    b"writes": writes,
    b"lies  ": lambda _: answers([REPLY.pack(3), b"{}!"]),
    b"floods": lambda _: answers([REPLY.pack(2**32 - 1), b"x" * 10_000]),
    b"tells ": tells,
    b"tries ": tries,
}


def harmful(data: bytes, limits: DecodeLimits, side: int | None = None, crop: Crop | None = None) -> Picture:
    """Decodes, unless the bytes say otherwise."""
    if harm := HARMS.get(data[:6]):
        harm(data[6:])
    return decode(data, limits, side, crop)


if __name__ == "__main__":
    while sys.argv[1].startswith("no-"):
        without(sys.argv.pop(1))
    vars(prepare)["decode"] = harmful
    sandboxed.main()
