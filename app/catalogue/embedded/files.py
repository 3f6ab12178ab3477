"""Private files and folders (modes 0600 and 0700) for the embedded PostgreSQL."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import UnavailableError


@contextmanager
def open_private(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a file descriptor; a missing file is created with mode 0600.

    Raises:
        UnavailableError: the file belongs to another user.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except PermissionError as error:
        raise UnavailableError(
            f"{path} belongs to another user. Run the service as the user that created the data folder, or change the "
            "owner of the whole data folder (chown -R)."
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_private(path: Path, text: str) -> None:
    """Write and sync a new file."""
    with open_private(path, os.O_WRONLY | os.O_EXCL) as descriptor:
        os.write(descriptor, text.encode())
        os.fsync(descriptor)


def make_private_folder(path: Path, uid: int) -> None:
    """Create a folder of mode 0700, or check owner and mode of an existing one.

    Raises:
        UnavailableError: the path is no folder, or has another owner or mode.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    closed = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
    if not closed or found.st_uid not in (uid, os.geteuid()):
        raise UnavailableError(f"{path} is not a folder of mode 0700 owned by user {uid}. Remove it.")
    if found.st_uid != uid:
        os.chown(path, uid, -1)


def replace_durably(source: Path, target: Path) -> None:
    """Rename a file or folder and sync both parent folders."""
    source.replace(target)
    for folder in {source.parent, target.parent}:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
