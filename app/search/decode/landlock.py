"""Landlock with an empty rule set: no file can be opened, no TCP connection made, no outsider signalled (Linux 5.13+).

Descriptors that are already open stay usable. Later kernels restrict more: TCP since 6.7, signals and abstract sockets
since 6.12. PyPI's bindings are development or first versions of one author each; three system calls need none.
"""

import ctypes
import errno
import os

# The same numbers on every processor.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_ASK_VERSION = 1
# How many rights to files versions 1 to 5 know: then came moving, truncating, nothing, controlling devices.
_FILE_RIGHTS = (13, 14, 15, 15, 16)
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6
_TCP, _SCOPES = 0b11, 0b11


class _Ruleset(ctypes.Structure):
    """The kernel's `struct landlock_ruleset_attr`."""

    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def version() -> int:
    """Returns the version of the kernel's Landlock.

    Raises:
        OSError: it has none, or something forbids it.
    """
    return _system_call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))


def restrict() -> int:
    """Forbids this thread, and those that it starts, everything that Landlock can forbid; returns its version.

    Needs `no_new_privs`.

    Raises:
        OSError: the kernel has none, or something forbids it.
    """
    had = version()
    files = (1 << _FILE_RIGHTS[min(had, len(_FILE_RIGHTS)) - 1]) - 1
    rules = _Ruleset(files, _TCP if had >= _NETWORK_SINCE else 0, _SCOPES if had >= _SCOPES_SINCE else 0)
    # An older kernel refuses fields that it does not know.
    size = 8 + 8 * (had >= _NETWORK_SINCE) + 8 * (had >= _SCOPES_SINCE)
    ruleset = _system_call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        _system_call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)
    return had


def _system_call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        failed = ctypes.get_errno() or errno.ENOSYS
        raise OSError(failed, os.strerror(failed))
    return result
