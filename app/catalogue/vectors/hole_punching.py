"""Sparse files: punch holes, measure disk usage, copy without filling the holes."""

import errno
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# The unit of stat's st_blocks, whatever the file system's own blocks are.
_BLOCK = 512


def bytes_on_disk(fd: int) -> int:
    """Return the disk usage of a file in bytes, without its holes."""
    return os.fstat(fd).st_blocks * _BLOCK


def punch_hole(fd: int, start: int, end: int) -> None:
    """Punch a hole over the whole pages between two offsets; a no-op on file systems without sparse files."""
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    last = min(end, os.fstat(fd).st_size) // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last:
        with suppress(OSError), mmap.mmap(fd, last - first, offset=first) as pages:
            pages.madvise(mmap.MADV_REMOVE)


def copy_sparse(source: str, target: str) -> None:
    """Copy a sparse file with its holes, to a file of mode 0600."""
    Path(target).touch(0o600)
    with Path(source).open("rb") as read, Path(target).open("wb") as write:
        for start, end in _data_ranges(read.fileno()):
            at = os.lseek(write.fileno(), start, os.SEEK_SET)
            while sent := os.sendfile(write.fileno(), read.fileno(), at, end - at):
                at += sent
        write.truncate(os.fstat(read.fileno()).st_size)


def _data_ranges(fd: int) -> Iterator[tuple[int, int]]:
    """Yield the (start, end) offsets of the ranges that hold data."""
    end = 0
    while True:
        try:
            start = os.lseek(fd, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return
        end = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, end
