"""Memory available to this process: the machine's, or its container's limit if that is less (Linux)."""

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_memory(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Return the minimum of the machine's memory and the limits of this process's cgroups, in bytes.

    Args:
        cgroups: mount point of cgroups, version 1 or 2.
        own: file that lists the cgroups of this process.
    """
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits(cgroups, own)])


def _limits(cgroups: Path, own: Path) -> Iterator[int]:
    for folder in _folders(cgroups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                yield int((folder / name).read_text())
            except (OSError, ValueError):
                continue  # no such file, or no limit ("max")


def _folders(cgroups: Path, own: Path) -> Iterator[Path]:
    """Yield the folders of this process's cgroups and of their ancestors."""
    yield from (cgroups, cgroups / "memory")
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = cgroups / "memory" if "memory" in controllers.split(",") else cgroups
        folder = root / path.lstrip("/")
        yield from (folder, *folder.parents[: len(Path(path).parts)])
