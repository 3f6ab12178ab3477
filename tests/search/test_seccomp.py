"""Seccomp filter, interpreted for both architectures: the action for each system call."""

import errno
import os
import struct

import pytest

from app.search.decode import seccomp

X86_64, AARCH64 = ("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
# Name → number on x86-64, number on AArch64, arguments, action.
CALLS = {
    "read": (0, 63, (3, 0, 100), ALLOW),
    "write": (1, 64, (3, 0, 100), ALLOW),
    "futex": (202, 98, (), ALLOW),
    "openat": (257, 56, (0, 0, 0), EPERM),
    "unlinkat": (263, 35, (0, 0, 0), EPERM),
    "fchmodat": (268, 53, (0, 0, 0), EPERM),
    "a call added later": (999, 999, (), EPERM),
    "socket": (41, 198, (2, 1, 0), KILL),
    "connect": (42, 203, (3, 0, 16), KILL),
    "execve": (59, 221, (), KILL),
    "kill": (62, 129, (1, 9), KILL),
    "ptrace": (101, 117, (16, 1), KILL),
    "clone for a thread": (56, 220, (0x3D0F00,), ALLOW),
    "clone for a process": (56, 220, (17,), KILL),
    "clone3": (435, 435, (), ENOSYS),
    "mmap": (9, 222, (0, 4096, 3), ALLOW),
    "mmap of executable memory": (9, 222, (0, 4096, 7), EPERM),
    "mprotect": (10, 226, (0, 4096, 1), ALLOW),
    "mprotect of executable memory": (10, 226, (0, 4096, 5), EPERM),
    "signal to itself": (234, 131, (os.getpid(), os.getpid(), 6), ALLOW),
    "signal to another": (234, 131, (os.getpid() + 1, 1, 6), KILL),
}


def evaluate(program: bytes, architecture: int, number: int, arguments: tuple[int, ...]) -> int:
    """Interpret a filter as the kernel does; return the action."""
    data = struct.pack("<IIQ6Q", number, architecture, 0, *arguments, *(0,) * (6 - len(arguments)))
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("<HBBI", program, 8 * at)
        match code:
            case 0x20:  # LOAD
                (loaded,) = struct.unpack_from("<I", data, value)
            case 0x15:  # IF_EQUAL
                at += if_true if loaded == value else if_false
            case 0x45:  # IF_ANY_BIT
                at += if_true if loaded & value else if_false
            case 0x06:  # RETURN
                return int(value)
            case _:
                raise AssertionError(f"unknown instruction {code:#x}")
        at += 1


@pytest.mark.parametrize("name", CALLS)
def test_action_is_the_same_on_both_architectures(name: str) -> None:
    *numbers, arguments, expected = CALLS[name]
    for (machine, architecture), number in zip((X86_64, AARCH64), numbers, strict=True):
        assert evaluate(seccomp.program(machine, os.getpid()), architecture, number, arguments) == expected


def test_system_calls_of_another_architecture_end_the_process() -> None:
    """Number 63 is `read` on AArch64 but not on x86-64, and emulators run both on one kernel."""
    for (machine, _), (_, other) in ((X86_64, AARCH64), (AARCH64, X86_64)):
        assert evaluate(seccomp.program(machine, os.getpid()), other, 0, ()) == KILL


def test_unsupported_architecture_raises() -> None:
    with pytest.raises(OSError, match="riscv64"):
        seccomp.program("riscv64", 1)
