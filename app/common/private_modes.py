"""Folders and files that only their owner may read, whatever the process's umask is: 0700 and 0600."""

import errno
import logging
import os
import stat
from pathlib import Path

log = logging.getLogger(__name__)

FOLDER, FILE = 0o700, 0o600
# Root runs the embedded PostgreSQL as another account, which passes through the data folder and reads nothing in it.
PASSABLE = 0o711
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_folder(path: Path) -> None:
    """Makes a folder, and the folders above it, where they are missing; those that are there keep their modes."""
    if path.is_dir():
        return
    if path.parent != path:
        make_folder(path.parent)
    try:
        path.mkdir(FOLDER, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from error


def make_data_folder(path: Path) -> None:
    """Makes the data folder where it is missing, and closes to others what earlier versions left open in it.

    A data folder that is there keeps its mode, since it may hold more than ours, such as `/srv` or a mounted volume:
    closed are the folders and files directly in it that have our names. What another user owns stays as it is.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(PASSABLE if os.geteuid() == 0 else FOLDER, exist_ok=True)
    for name in ("jobs", "networks", "pictures", "report", "under-way", "vectors"):
        close(path / name)


def close(path: Path) -> None:
    """Takes others' permissions from a file or folder that is ours; one that is missing is left alone."""
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode) or not found.st_mode & _OTHERS:
            return
        path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s can be read by others, and its mode cannot be changed: %s", path, error.strerror)


def create(path: Path) -> int:
    """Opens a new file for writing; returns its descriptor.

    Raises:
        FileExistsError: it is there.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)


def write(path: Path, data: bytes) -> None:
    """Writes a file, for its owner alone where it is new."""
    path.touch(FILE)
    path.write_bytes(data)
