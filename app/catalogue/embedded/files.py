"""Files and folders that only their owner may open, for the embedded PostgreSQL.

It knows nothing of PostgreSQL.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import UnavailableError


@contextmanager
def open_private(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """A file's descriptor; a file that is missing is made, for its owner alone."""
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise UnavailableError(
            f"{path} belongs to another user than the one who runs this: run it as the same user each time, "
            "or give the whole data folder to this one."
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Write a new file and wait until it is on the disk."""
    with open_private(path, os.O_WRONLY | os.O_EXCL) as descriptor:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)


def make_private_folder(path: Path, uid: int) -> None:
    """Make a folder, or make sure that the one there is this user's and closed to all others."""
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    closed = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
    if not closed or found.st_uid not in (uid, os.geteuid()):
        raise UnavailableError(f"{path} is not a folder of mode 0700 of user {uid}: remove it.")
    if found.st_uid != uid:
        os.chown(path, uid, -1)


def replace_durably(source: Path, target: Path) -> None:
    """Move within one file system, and wait until the move is on the disk."""
    source.replace(target)
    for folder in {source.parent, target.parent}:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
