"""The seccomp filter, interpreted for both processors: which system call gets which answer."""

import errno
import os
import struct

import pytest

from app.search.decode import seccomp as system_calls

X86_64, AARCH64 = ("x86_64", 0xC000003E), ("aarch64", 0xC00000B7)
ALLOW, KILL, EPERM, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
# Name → number on x86-64, number on AArch64, arguments, answer.
CALLS = {
    "read": (0, 63, (3, 0, 100), ALLOW),
    "write": (1, 64, (3, 0, 100), ALLOW),
    "futex": (202, 98, (), ALLOW),
    "openat": (257, 56, (0, 0, 0), EPERM),
    "unlinkat": (263, 35, (0, 0, 0), EPERM),
    "fchmodat": (268, 53, (0, 0, 0), EPERM),
    "a call of the future": (999, 999, (), EPERM),
    "socket": (41, 198, (2, 1, 0), KILL),
    "connect": (42, 203, (3, 0, 16), KILL),
    "execve": (59, 221, (), KILL),
    "kill": (62, 129, (1, 9), KILL),
    "ptrace": (101, 117, (16, 1), KILL),
    "clone for a thread": (56, 220, (0x3D0F00,), ALLOW),
    "clone for a process": (56, 220, (17,), KILL),
    "clone3": (435, 435, (), ENOSYS),
    "mmap": (9, 222, (0, 4096, 3), ALLOW),
    "mmap of code": (9, 222, (0, 4096, 7), EPERM),
    "mprotect": (10, 226, (0, 4096, 1), ALLOW),
    "mprotect of code": (10, 226, (0, 4096, 5), EPERM),
    "signal to itself": (234, 131, (os.getpid(), os.getpid(), 6), ALLOW),
    "signal to another": (234, 131, (os.getpid() + 1, 1, 6), KILL),
}


def answer(program: bytes, processor: int, number: int, arguments: tuple[int, ...]) -> int:
    """Runs a filter as the kernel does."""
    data = struct.pack("<IIQ6Q", number, processor, 0, *arguments, *(0,) * (6 - len(arguments)))
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


@pytest.mark.parametrize("what", CALLS)
def test_filter_answers_a_system_call_alike_on_both_processors(what: str) -> None:
    *numbers, arguments, expected = CALLS[what]
    for (machine, processor), number in zip((X86_64, AARCH64), numbers, strict=True):
        assert answer(system_calls.program(machine, os.getpid()), processor, number, arguments) == expected


def test_system_calls_of_another_processor_end_the_process() -> None:
    """Number 63 reads on AArch64 and is something else on x86-64, and both run on one kernel under emulators."""
    for (machine, _), (_, other) in ((X86_64, AARCH64), (AARCH64, X86_64)):
        assert answer(system_calls.program(machine, os.getpid()), other, 0, ()) == KILL


def test_processor_without_a_list_is_an_error_of_the_system() -> None:
    with pytest.raises(OSError, match="riscv64"):
        system_calls.program("riscv64", 1)
