"""Decode worker with injected faults, selected by the first six bytes of an image.

The arguments `no-landlock` and `no-seccomp` before the job simulate a kernel without them.
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

from app.errors import ImageRejectedError
from app.search.decode import landlock, prepare, seccomp, worker
from app.search.decode.image import Crop, DecodedImage, DecodeLimits, DecodeOptions, decode
from app.search.decode.process import REPLY

SYSTEM_CALL = ctypes.CDLL(None, use_errno=True).syscall
# System call numbers on x86-64.
SHMGET, KEYCTL, CONNECT, PTRACE, PROCESS_VM_READV, IO_URING_SETUP = 29, 250, 42, 101, 310, 425
PTRACE_SEIZE = 0x4206
REPLY_HEADER = b'{"width": 1, "height": 1, "media_type": "image/png", "thumbnail": 0, "warnings": []}'


def attacks(file: Path) -> dict[str, Callable[[], object]]:
    """Attacks that exploit code might try, by name; `file` is their target.

    All are harmless if they succeed.
    """
    parent = os.getppid()
    new = file.parent / "new"
    return {
        "read a file": file.read_bytes,
        "open a path": lambda: os.open(file, os.O_PATH),
        "list a folder": lambda: list(file.parent.iterdir()),
        "stat a file": file.stat,
        "change a file's mode": lambda: file.chmod(0o400),
        "change a file's times": lambda: os.utime(file),
        "truncate a file": lambda: os.truncate(file, 0),
        "delete a file": file.unlink,
        "rename a file": lambda: file.rename(new),
        "link a file": lambda: new.hardlink_to(file),
        "create a folder": new.mkdir,
        "read the parent's memory": lambda: Path(f"/proc/{parent}/mem").open("rb"),
        "read the parent's environment": Path(f"/proc/{parent}/environ").read_bytes,
        "write its own memory": lambda: Path("/proc/self/mem").open("r+b"),
        "map executable memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "create shared memory": lambda: system_call(SHMGET, 0, 4096, 0o600),
        "read a kernel key": lambda: system_call(KEYCTL, 0, -3, 0),
        "open a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
        "open a datagram socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "open a local socket": lambda: socket.socket(socket.AF_UNIX),
        "connect an open descriptor": lambda: system_call(CONNECT, 3, bytes(16), 16),
        "run a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - blocked by seccomp
        "fork": os.fork,
        "signal the parent": lambda: os.kill(parent, 0),
        "trace the parent": lambda: system_call(PTRACE, PTRACE_SEIZE, parent, 0, 0),
        "copy the parent's memory": lambda: system_call(PROCESS_VM_READV, parent, 0, 0, 0, 0, 0),
        "set up io_uring": lambda: system_call(IO_URING_SETUP, 1, bytes(120)),
    }


def system_call(number: int, *arguments: object) -> int:
    """Make a system call by number."""
    result: int = SYSTEM_CALL(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def attempt(name: str, file: Path) -> str:
    """Run an attack in this and in another thread; return both outcomes, `done` or the error's name."""
    outcomes: list[str] = []

    def run() -> None:
        try:
            attacks(file)[name]()
            outcomes.append("done")
        except OSError as error:
            outcomes.append(errno.errorcode[error.errno or 0])

    run()
    thread = Thread(target=run)
    thread.start()
    thread.join()
    return ", ".join(outcomes)


def disable(option: str) -> None:
    """Simulate a kernel without Landlock or seccomp."""

    def unsupported() -> int:
        raise OSError(errno.ENOSYS, "injected")

    vars({"no-landlock": landlock, "no-seccomp": seccomp}[option])["restrict"] = unsupported


def exhaust_memory(_: bytes) -> None:
    allocated = []
    while True:
        allocated.append(bytearray(50_000_000))


def write_file(path: bytes) -> None:
    os.write(os.open(path, os.O_WRONLY | os.O_CREAT), b"x" * 100)


def spin(seconds: bytes) -> None:
    end = time.process_time() + float(seconds)
    while time.process_time() < end:
        pass
    raise ImageRejectedError("reported", "computed")


def report_environment(_: bytes) -> None:
    raise ImageRejectedError("reported", str(sorted(os.environ)))


def report_attempt(argument: bytes) -> None:
    name, path = argument.decode().split("|")
    raise ImageRejectedError("reported", attempt(name, Path(path)))


def forge_replies(parts: list[bytes]) -> None:
    """Reply with these bytes from the next image on."""
    vars(worker)["handle_request"] = lambda *_args, **_options: parts


FAULTS: dict[bytes, Callable[[bytes], object]] = {
    b"crash ": lambda _: ctypes.string_at(0),
    b"abort ": lambda _: os.abort(),
    b"killed": lambda _: os.kill(os.getpid(), signal.SIGKILL),
    b"hang  ": lambda _: time.sleep(600),
    b"spins ": spin,
    b"greedy": exhaust_memory,
    b"writes": write_file,
    b"lies  ": lambda _: forge_replies([REPLY.pack(3), b"{}!"]),
    b"floods": lambda _: forge_replies([REPLY.pack(2**32 - 1), b"x" * 10_000]),
    b"chats ": lambda _: forge_replies([REPLY.pack(len(REPLY_HEADER)), REPLY_HEADER, b"more"]),
    b"report": report_environment,
    b"tries ": report_attempt,
}


def decode_with_faults(
    data: bytes, limits: DecodeLimits, options: DecodeOptions, crop: Crop | None = None
) -> DecodedImage:
    """Decode, unless the bytes select a fault."""
    if fault := FAULTS.get(data[:6]):
        fault(data[6:])
    return decode(data, limits, options, crop)


if __name__ == "__main__":
    while sys.argv[1].startswith("no-"):
        disable(sys.argv.pop(1))
    vars(prepare)["decode"] = decode_with_faults
    worker.main()
