"""Resource usage of a service's processes, from /proc."""

from pathlib import Path


def process_tree(process: int) -> list[int]:
    """A process and its descendants, of all its threads."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        threads = []  # the process has ended since it was listed
    children = [child for thread in threads for child in _read(thread / "children").split()]
    return [process, *(one for child in children for one in process_tree(int(child)))]


def resident(process: int) -> int:
    """Memory of a process and its descendants in bytes; shared memory counts once."""
    return sum(_proportional(one) for one in process_tree(process))


def descriptors(process: int) -> int:
    """Number of open files and connections of a process and its descendants."""
    return sum(_open(one) for one in process_tree(process))


def on_disk(folder: Path) -> int:
    """Allocated bytes of the files in a folder, without holes."""
    return sum(path.stat().st_blocks for path in folder.iterdir()) * 512


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the process has ended, and its children were reparented


def _open(process: int) -> int:
    try:
        return len(list(Path(f"/proc/{process}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0  # the process has ended since it was listed


def _proportional(process: int) -> int:
    """Proportional set size of a process in bytes; 0 if it has ended."""
    lines = _read(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
