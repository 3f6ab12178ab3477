"""Landlock with an empty rule set: no opening files, no TCP, no signals to other processes (Linux 5.13+).

Descriptors that are already open stay usable. Later kernels restrict more: TCP since 6.7, signals and abstract sockets
since 6.12. Called through ctypes: the bindings on PyPI are development or first versions of one author each, and only
three system calls are needed.
"""

import ctypes
import errno
import os

# The same system call numbers on every architecture.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_CREATE_RULESET_VERSION = 1
# Number of file access rights in ABI versions 1 to 5; added were REFER, TRUNCATE, none, IOCTL_DEV.
_FILE_RIGHTS = (13, 14, 15, 15, 16)
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6
_TCP, _SCOPES = 0b11, 0b11


class _Ruleset(ctypes.Structure):
    """`struct landlock_ruleset_attr` of the kernel."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def version() -> int:
    """Return the kernel's Landlock ABI version.

    Raises:
        OSError: Landlock is unsupported or disabled.
    """
    return _system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_RULESET_VERSION))


def restrict() -> int:
    """Apply every Landlock restriction to this thread and the threads it starts; return the ABI version.

    Requires `no_new_privs`.

    Raises:
        OSError: Landlock is unsupported or disabled.
    """
    abi = version()
    files = (1 << _FILE_RIGHTS[min(abi, len(_FILE_RIGHTS)) - 1]) - 1
    rules = _Ruleset(files, _TCP if abi >= _NETWORK_SINCE else 0, _SCOPES if abi >= _SCOPES_SINCE else 0)
    # An older kernel rejects fields that it does not support.
    size = 8 + 8 * (abi >= _NETWORK_SINCE) + 8 * (abi >= _SCOPES_SINCE)
    ruleset = _system_call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        _system_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return abi


def _system_call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        error = ctypes.get_errno() or errno.ENOSYS
        raise OSError(error, os.strerror(error))
    return result
