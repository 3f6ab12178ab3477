"""Files and folders that are left out when a folder or an archive is read, and how they are reported.

Hidden files and folders, and those that operating systems and network drives create (thumbnails, recycle bins), are
not part of a collection of images.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

# Compared without case.
SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",
        "@eadir",
        "@tmp",
        "@recycle",
        "@recently-snapshot",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    }
)
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", ".ds_store"})

IN_HIDDEN_FOLDERS = "Images in hidden folders left out"
IN_SYSTEM_FOLDERS = "Images in system folders left out"
HIDDEN_FILES = "Hidden images left out"
SYSTEM_FILES_FOUND = "System files left out"
NOT_IMAGES = "Files whose names are not those of images"
FOLDER_LINKS = "Links to folders not followed"

# Names listed for each reason, and their maximum length in characters.
MAX_NAMES, MAX_NAME = 5, 200
_MAX_REASONS = 50


@dataclass
class Examples:
    """What was left out for one reason: the number, and the first names."""

    count: int = 0
    names: list[str] = field(default_factory=list)


@dataclass
class LeftOut:
    """What was left out, by reason.

    Attributes:
        reasons: number and first names, by reason; a reason is the beginning of a sentence.
    """

    reasons: dict[str, Examples] = field(default_factory=dict)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count something that was left out; a name that is listed already is not repeated."""
        if count:
            examples = self.reasons.setdefault(reason, Examples())
            examples.count += count
            if len(examples.names) < MAX_NAMES and (short := name[:MAX_NAME]) not in examples.names:
                examples.names.append(short)

    def merge(self, other: "LeftOut") -> None:
        """Add what another source left out."""
        for reason, examples in other.reasons.items():
            mine = self.reasons.setdefault(reason, Examples())
            mine.count += examples.count
            mine.names = list(dict.fromkeys([*mine.names, *examples.names]))[:MAX_NAMES]

    def lines(self) -> Iterator[str]:
        """Yield one line for each reason, such as `Images in hidden folders left out: 3 (.cache, old/.thumbs)`."""
        for reason, examples in self.reasons.items():
            more = ", …" if examples.count > len(examples.names) == MAX_NAMES else ""
            yield f"{reason}: {examples.count:,} ({', '.join(examples.names)}{more})"

    def to_json(self) -> dict[str, dict[str, Any]]:
        """Return a JSON object: `{reason: {"count": 3, "names": [...]}}`."""
        return {reason: vars(examples) for reason, examples in self.reasons.items()}

    @classmethod
    def from_json(cls, value: object) -> "LeftOut":
        """Parse what `to_json` returned, from an untrusted process.

        Raises:
            ValueError: it is malformed.
        """
        if not isinstance(value, Mapping) or len(value) > _MAX_REASONS:
            raise ValueError("left-out files are malformed")
        return cls({str(reason)[:MAX_NAME]: _examples(entry) for reason, entry in value.items()})


def left_out_folder(name: str) -> str | None:
    """Return why images in a folder of this name are left out, or None if they are not."""
    if name.casefold() in SYSTEM_FOLDERS:
        return IN_SYSTEM_FOLDERS
    return IN_HIDDEN_FOLDERS if name.startswith(".") and name not in {".", ".."} else None


def left_out_file(name: str) -> str | None:
    """Return why a file of this name is left out, or None if it is not."""
    if name.casefold() in SYSTEM_FILES:
        return SYSTEM_FILES_FOUND
    return HIDDEN_FILES if name.startswith(".") else None


def left_out_path(path: str) -> tuple[str, str] | None:
    """Return why the file at a relative path is left out, and the folder or file that is the reason; or None."""
    parts = PurePosixPath(path).parts
    for depth, part in enumerate(parts, 1):
        if reason := left_out_folder(part) if depth < len(parts) else left_out_file(part):
            return reason, "/".join(parts[:depth])
    return None


def walk_images(
    folder: Path,
    is_image: Callable[[str], bool],
    left_out: LeftOut,
    on_error: Callable[[OSError], object] = lambda _: None,
    root: Path | None = None,
) -> Iterator[Path]:
    """Yield the images below a folder, without those that are left out.

    Args:
        folder: the folder; links to folders below it are not followed.
        is_image: whether a file of this name is an image.
        left_out: counts what is left out, by paths relative to `root`.
        on_error: called for each folder that cannot be read.
        root: the folder itself by default.
    """
    root = root or folder
    for current, folders, names in os.walk(folder, onerror=on_error):
        here = Path(current)
        folders.sort()
        for name in tuple(folders):
            path = here / name
            if reason := left_out_folder(name):
                left_out.add(reason, _shown(path, root), _count_images(path, is_image))
                folders.remove(name)
            elif path.is_symlink():
                left_out.add(FOLDER_LINKS, _shown(path, root))
        for name in sorted(names):
            reason = left_out_file(name)
            if reason is None and is_image(name):
                yield here / name
            elif reason == SYSTEM_FILES_FOUND or (reason is not None and is_image(name)):
                left_out.add(reason, _shown(here / name, root))
            else:
                left_out.add(NOT_IMAGES, _shown(here / name, root))


def _count_images(folder: Path, is_image: Callable[[str], bool]) -> int:
    return sum(is_image(name) for _, _, names in os.walk(folder) for name in names)


def _shown(path: Path, root: Path) -> str:
    return os.fsencode(path.relative_to(root)).decode(errors="replace")


def _examples(entry: object) -> Examples:
    if isinstance(entry, Mapping):
        count, names = entry.get("count"), entry.get("names")
        if (
            isinstance(count, int)
            and 0 <= count < 2**63
            and isinstance(names, Sequence)
            and not isinstance(names, str)
            and len(names) <= MAX_NAMES
        ):
            return Examples(count, [str(name)[:MAX_NAME] for name in names])
    raise ValueError("left-out files are malformed")
