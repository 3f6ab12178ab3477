"""Hole punching, and copies of sparse files."""

import mmap
import os
from pathlib import Path

import pytest

from app.catalogue.vectors import hole_punching

PAGE = mmap.PAGESIZE


@pytest.fixture
def sparse_file(tmp_path: Path) -> Path:
    """A file with data, a hole, data, and a hole up to its end."""
    path = tmp_path / "sparse_file"
    path.write_bytes(b"a" * 64 * PAGE + b"b" * 10)
    with path.open("r+b") as file:
        hole_punching.punch_hole(file.fileno(), PAGE, 60 * PAGE)
        file.truncate(100 * PAGE)
    return path


def disk_usage(path: Path) -> int:
    with path.open("rb") as file:
        return hole_punching.bytes_on_disk(file.fileno())


def test_hole_reads_as_zeros(sparse_file: Path) -> None:
    content = sparse_file.read_bytes()
    assert content == b"a" * PAGE + bytes(59 * PAGE) + b"a" * 4 * PAGE + b"b" * 10 + bytes(36 * PAGE - 10)
    assert disk_usage(sparse_file) == 6 * PAGE


def test_copy_preserves_content_and_holes(sparse_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    hole_punching.copy_sparse(str(sparse_file), str(copy))
    assert copy.read_bytes() == sparse_file.read_bytes()
    assert disk_usage(copy) == disk_usage(sparse_file)
    assert copy.stat().st_mode & 0o777 == 0o600


def test_copy_overwrites_the_target(sparse_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(os.urandom(200 * PAGE))
    hole_punching.copy_sparse(str(sparse_file), str(copy))
    assert copy.read_bytes() == sparse_file.read_bytes()


@pytest.mark.parametrize("content", [b"", b"c", b"d" * 3 * PAGE])
def test_copy_of_files_without_holes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    hole_punching.copy_sparse(str(tmp_path / "file"), str(tmp_path / "copy"))
    assert (tmp_path / "copy").read_bytes() == content


@pytest.mark.parametrize(("start", "end"), [(1, PAGE), (PAGE - 1, PAGE + 1), (PAGE, PAGE), (0, 0), (10**12, 10**13)])
def test_partial_pages_are_not_punched(start: int, end: int, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"e" * 4 * PAGE)
    with path.open("r+b") as file:
        hole_punching.punch_hole(file.fileno(), start, end)
    assert path.read_bytes() == b"e" * 4 * PAGE
