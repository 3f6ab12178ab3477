"""How much memory this process may use: the machine's, or its container's where that is less (Linux)."""

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def usable_memory(cgroups: Path = _CGROUPS, own: Path = _OWN) -> int:
    """Returns bytes of memory: the least of the machine's and of the limits of the control groups around this process.

    Args:
        cgroups: where control groups are mounted, version 1 or 2.
        own: the file that names those of this process.
    """
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_limits(cgroups, own)])


def _limits(cgroups: Path, own: Path) -> Iterator[int]:
    for folder in _folders(cgroups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                yield int((folder / name).read_text())
            except (OSError, ValueError):
                continue  # there is no such file, or no limit: "max"


def _folders(cgroups: Path, own: Path) -> Iterator[Path]:
    """Yields the folders of this process's control groups and of all above them."""
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
