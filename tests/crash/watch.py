"""What a service takes of the machine, seen from outside (Linux)."""

from pathlib import Path


def family(process: int) -> list[int]:
    """Returns a process that runs and all that descend from it, whichever of its threads started them."""
    threads = Path(f"/proc/{process}/task").iterdir()
    children = [child for thread in threads for child in _read(thread / "children").split()]
    return [process, *(one for child in children for one in family(int(child)))]


def resident(process: int) -> int:
    """Returns the bytes of memory that a process and its descendants hold; what they share counts once for all."""
    return sum(_proportional(one) for one in family(process))


def descriptors(process: int) -> int:
    """Returns how many files and connections they have open."""
    return sum(_open(one) for one in family(process))


def on_disk(folder: Path) -> int:
    """Returns the bytes that the files in a folder take; holes in them take none."""
    return sum(path.stat().st_blocks for path in folder.iterdir()) * 512


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # it has ended, and its children are another's


def _open(process: int) -> int:
    try:
        return len(list(Path(f"/proc/{process}/fd").iterdir()))
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it has ended since it was listed


def _proportional(process: int) -> int:
    """Returns a process's share of memory in bytes; one that has ended since it was listed has none."""
    lines = _read(Path(f"/proc/{process}/smaps_rollup")).splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
