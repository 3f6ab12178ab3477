"""What a service takes of the machine, seen from outside (Linux)."""

from pathlib import Path


def family(process: int) -> list[int]:
    """Returns a process and all that descend from it, whichever of its threads started them."""
    threads = Path(f"/proc/{process}/task").iterdir()
    children = [child for thread in threads for child in _read(thread / "children").split()]
    return [process, *(one for child in children for one in family(int(child)))]


def resident(process: int) -> int:
    """Returns the bytes of memory that a process and its descendants hold; what they share counts once for all."""
    return sum(_proportional(one) for one in family(process))


def descriptors(process: int) -> int:
    """Returns how many files and connections they have open."""
    return sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in family(process))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""  # the thread has ended, and its children are another's


def _proportional(process: int) -> int:
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {process} has no Pss")
