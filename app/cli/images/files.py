"""Read image files that are named on the command line."""

from pathlib import Path

from app.cli.terminal import fail


def read_image_file(path: Path) -> bytes:
    """Read a file; end the command with a message if there is none or it cannot be read."""
    if not path.is_file():
        fail(f"{path} is not a file. Give the path of an image.")
    try:
        return path.read_bytes()
    except OSError as error:
        fail(f"{path} cannot be read: {error.strerror}.")
