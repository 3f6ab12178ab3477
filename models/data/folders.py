"""Find the splits, classes and images of a labelled folder, and describe what is left out.

Names are compared in Unicode normalisation form C, so that `é` and `e` with an accent are one class.
"""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.data.image_files import is_image_name
from models.data.left_out import LeftOut, left_out_folder, walk_images
from models.errors import DatasetError

TRAIN, VALIDATION, TEST = "train", "validation", "test"
# Accepted folder names of the three splits, in any case.
SPLIT_NAMES = {
    TRAIN: TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    VALIDATION: VALIDATION,
    TEST: TEST,
    "testing": TEST,
}
LOOSE_IMAGES = "Images outside class folders left out"
EMPTY_FOLDERS = "Class folders without images left out"
OTHER_FOLDERS = "Folders beside the splits left out"
# Classes listed in a note.
_MAX_LISTED = 10


@dataclass
class FolderNotes:
    """Notes about a labelled folder: sentences, and what is left out of it."""

    sentences: list[str] = field(default_factory=list)
    left_out: LeftOut = field(default_factory=LeftOut)

    def lines(self) -> tuple[str, ...]:
        """Return all notes as lines for the user."""
        return (*self.sentences, *self.left_out.lines())

    def unreadable(self, error: OSError) -> None:
        """Note a folder that cannot be read."""
        self.sentences.append(f"{error.filename} cannot be read ({error.strerror}); its images are left out.")


def find_splits(folder: Path, notes: FolderNotes) -> dict[str, Path]:
    """Return the folders of the splits, by name; empty if there is no training split.

    Raises:
        DatasetError: the folder cannot be read, or two of its folders are the same split.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder.")
    named = [(SPLIT_NAMES.get(path.name.lower()), path) for path in subfolders(folder, FolderNotes())]
    if TRAIN not in (split for split, _ in named):
        return {}
    subfolders(folder, notes)
    found: dict[str, Path] = {}
    for split, path in named:
        if split is None:
            notes.left_out.add(OTHER_FOLDERS, path.name)
        elif split in found:
            raise DatasetError(f"{found[split]} and {path} are both the split {split}. Merge or rename one.")
        else:
            found[split] = path
    return found


def find_classes(folder: Path, notes: FolderNotes) -> dict[str, list[Path]]:
    """Return the images of each class that has any, sorted, by class name.

    Raises:
        DatasetError: the folder cannot be read.
    """
    members: dict[str, list[Path]] = {}
    for path in subfolders(folder, notes):
        if path.is_symlink():
            notes.sentences.append(f"{path} is a link to {path.resolve()}, whose images are used.")
        images = find_images(path, notes, root=folder)
        if not images:
            notes.left_out.add(EMPTY_FOLDERS, path.name)
        members[class_name(path)] = [*members.get(class_name(path), ()), *images]
    for path in folder.iterdir():
        if is_image_name(path.name) and path.is_file():
            notes.left_out.add(LOOSE_IMAGES, path.name)
    return {name: members[name] for name in sorted(members) if members[name]}


def find_images(folder: Path, notes: FolderNotes, root: Path | None = None) -> list[Path]:
    """Return the images anywhere below a folder, sorted."""
    return sorted(walk_images(folder, is_image_name, notes.left_out, notes.unreadable, root))


def subfolders(folder: Path, notes: FolderNotes) -> list[Path]:
    """Return the folders in a folder, and links to folders, sorted, without those that are left out.

    Raises:
        DatasetError: the folder cannot be read.
    """
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}.") from error
    found = []
    for path in paths:
        if path.is_symlink() and not path.exists():
            notes.sentences.append(f"{path} is a link to {path.readlink()}, which cannot be opened; it is left out.")
        elif not path.is_dir():
            continue
        elif reason := left_out_folder(path.name):
            images = sum(is_image_name(name) for _, _, names in os.walk(path) for name in names)
            notes.left_out.add(reason, path.name, images)
        elif path.is_symlink() and path.resolve() in (folder.resolve(), *folder.resolve().parents):
            notes.sentences.append(f"{path} is a link to a folder that contains it; it is left out.")
        else:
            found.append(path)
    return found


def class_name(folder: Path) -> str:
    """Return the name of a class: that of its folder in normalisation form C, with invalid UTF-8 replaced."""
    return same_name(os.fsencode(folder.name).decode(errors="replace"))


def same_name(name: str) -> str:
    """Return a name in normalisation form C."""
    return unicodedata.normalize("NFC", name)


def note_missing_classes(classes: Sequence[str], *labels: NDArray[np.int64]) -> tuple[str, ...]:
    """Return a note that lists the classes of which no image could be read, if there are any.

    Args:
        classes: names, in the order of the labels.
        labels: `(n,)` each, those of the readable images.
    """
    present = set(np.unique(np.concatenate(labels)).tolist())
    missing = [name for label, name in enumerate(classes) if label not in present]
    more = f" and {len(missing) - _MAX_LISTED} more" if len(missing) > _MAX_LISTED else ""
    return (f"No image can be read of these classes: {', '.join(missing[:_MAX_LISTED])}{more}.",) if missing else ()
