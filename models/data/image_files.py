"""Names of image files, the same for every command, archive and training folder."""

from pathlib import PurePosixPath

# `.jfif`, `.jpe`: JPEG as Windows and older programs save it; `.hif`: HEIF as cameras of Canon and Sony write it.
IMAGE_SUFFIXES = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif"),
        *(".png", ".webp", ".gif", ".bmp"),
        *(".avif", ".heic", ".heif", ".hif"),
    )
)


def is_image_name(name: str) -> bool:
    """Whether a file's name, or its path, ends like that of an image, in any case."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
