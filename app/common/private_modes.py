"""Create folders and files with modes 0700 and 0600, independently of the umask."""

import errno
import logging
import os
import stat
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER, FILE = 0o700, 0o600
# As root, the embedded PostgreSQL runs as another account, which must traverse the data folder but not read it.
PASSABLE = 0o711
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(path: Path) -> None:
    """Create a folder and its missing parents; existing folders keep their modes."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(FOLDER, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


def make_data_folder(path: Path) -> None:
    """Create the data folder if it is missing, and restrict permissions that earlier versions left open in it.

    An existing data folder keeps its mode, since it may hold other files, as `/srv` or a mounted volume does; only our
    own folders directly in it are restricted. Folders of another owner stay unchanged.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(PASSABLE if os.geteuid() == 0 else FOLDER, exist_ok=True)
    for name in ("codes", "jobs", "networks", "pictures", "report", "services", "under-way", "vectors"):
        restrict(path / name)


def restrict(path: Path) -> None:
    """Remove the permissions of group and others from a file or folder, if it exists."""
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode) or not status.st_mode & _OTHERS:
            return
        path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s is accessible to other users, and its mode cannot be changed: %s", path, error.strerror)


def create_file(path: Path) -> int:
    """Create a file for writing; returns its descriptor.

    Raises:
        FileExistsError: the file exists.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)


def write_file(path: Path, data: bytes) -> None:
    """Write a file; a new one gets mode 0600."""
    path.touch(FILE)
    path.write_bytes(data)
