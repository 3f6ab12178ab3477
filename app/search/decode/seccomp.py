"""Seccomp filter for processes that read untrusted bytes: a short list of allowed system calls (Linux).

Allowed are the calls needed to allocate memory, run threads, and read and write descriptors that are already open.
Calls that no decoder makes but exploit code makes first (sockets, exec, access to other processes) end the process: it
also decodes other callers' images, and must not continue. Every other call fails with EPERM, so that a library that
tries to open a file or read a setting continues without it.

System call numbers depend on the architecture; x86-64 and AArch64 are supported. PyPI has bindings to libseccomp, but
no maintained one that includes the library.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence

# Architecture → AUDIT_ARCH_… constant, column of the tables below.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
# Name → number on x86-64 and on AArch64; None if the architecture lacks the call.
_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "close": (3, 57),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fstat": (5, 80),
    "futex": (202, 98),
    "getpid": (39, 172),
    "getrandom": (318, 278),
    "getrusage": (98, 165),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "lseek": (8, 62),
    "madvise": (28, 233),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "nanosleep": (35, 101),
    "poll": (7, None),
    "ppoll": (271, 73),
    "pread64": (17, 67),
    "read": (0, 63),
    "readv": (19, 65),
    "recvfrom": (45, 207),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124),
    "sendto": (44, 206),
    "set_robust_list": (273, 99),
    "sigaltstack": (131, 132),
    "sysinfo": (99, 179),
    "time": (201, None),
    "write": (1, 64),
    "writev": (20, 66),
}
_FATAL: dict[str, tuple[int | None, int | None]] = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "bpf": (321, 280),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "io_uring_setup": (425, 425),
    "kill": (62, 129),
    "listen": (50, 201),
    "mount": (165, 40),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "setns": (308, 268),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "tkill": (200, 130),
    "unshare": (272, 97),
    "vfork": (58, None),
}
_CLONE, _CLONE3, _MMAP, _MPROTECT, _TGKILL = (56, 220), (435, 435), (9, 222), (10, 226), (234, 131)
_CLONE_THREAD, _PROT_EXEC = 0x10000, 0x4

# struct sock_filter, and the BPF opcodes that the filter uses.
_INSTRUCTION = struct.Struct("=HBBI")
_LOAD, _IF_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL_PROCESS, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000
# Offsets in struct seccomp_data: call number, architecture, arguments (little-endian, so the lower half comes first).
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _ALL_THREADS = 1, 1


class _Program(ctypes.Structure):
    """`struct sock_fprog` of the kernel."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict() -> None:
    """Permanently restrict all threads of this process to the allowed system calls.

    Requires `no_new_privs`.

    Raises:
        OSError: seccomp filters are unsupported or forbidden, or the architecture is unsupported.
    """
    instructions = program(os.uname().machine, os.getpid())
    filter_program = _Program(len(instructions) // _INSTRUCTION.size, instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_SECCOMP[os.uname().machine], _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(filter_program)) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def program(architecture: str, process: int) -> bytes:
    """Return the BPF program for a process.

    Args:
        architecture: as in `os.uname().machine`.
        process: id of the process, which may signal itself.

    Raises:
        OSError: the architecture is unsupported.
    """
    if architecture not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no list of system calls for {architecture}")
    return b"".join(_filter(*_ARCHITECTURES[architecture], process))


def _filter(architecture: int, column: int, process: int) -> Iterator[bytes]:
    """Yield the filter's instructions."""
    yield _instruction(_LOAD, _ARCHITECTURE)
    # Under another architecture, such as 32-bit, the numbers would mean other calls.
    yield from (_instruction(_IF_EQUAL, architecture, 1, 0), _instruction(_RETURN, _KILL_PROCESS))
    yield _instruction(_LOAD, _NUMBER)
    for table, action in ((_ALLOWED, _ALLOW), (_FATAL, _KILL_PROCESS)):
        for numbers in table.values():
            yield from _call(numbers[column], [_instruction(_RETURN, action)])
    # glibc starts threads with clone3, whose flags lie in memory, which filters cannot read; on ENOSYS, with clone.
    yield from _call(_CLONE3[column], [_instruction(_RETURN, _FAIL | errno.ENOSYS)])
    yield from _call(_CLONE[column], _if_bits(0, _CLONE_THREAD, _ALLOW, _KILL_PROCESS))
    # No new executable memory.
    for numbers in (_MMAP, _MPROTECT):
        yield from _call(numbers[column], _if_bits(2, _PROT_EXEC, _FAIL | errno.EPERM, _ALLOW))
    # abort() signals its own process.
    yield from _call(_TGKILL[column], _if_equal(0, process, _ALLOW, _KILL_PROCESS))
    yield _instruction(_RETURN, _FAIL | errno.EPERM)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, value)


def _call(number: int | None, then: Sequence[bytes]) -> list[bytes]:
    """Instructions for a call with this number; `then` must end in returns."""
    return [] if number is None else [_instruction(_IF_EQUAL, number, 0, len(then)), *then]


def _if_bits(argument: int, bits: int, then: int, otherwise: int) -> list[bytes]:
    return _test(_IF_ANY_BIT, argument, bits, then, otherwise)


def _if_equal(argument: int, value: int, then: int, otherwise: int) -> list[bytes]:
    return _test(_IF_EQUAL, argument, value, then, otherwise)


def _test(comparison: int, argument: int, value: int, then: int, otherwise: int) -> list[bytes]:
    """Test the lower half of an argument, which holds flags and process ids."""
    return [
        _instruction(_LOAD, _ARGUMENTS + 8 * argument),
        _instruction(comparison, value, 0, 1),
        _instruction(_RETURN, then),
        _instruction(_RETURN, otherwise),
    ]
