"""The vector file: writes, reads, checksums, growth and holes."""

import errno
import fcntl
import mmap
import os
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.catalogue.vectors.file import CHUNK_ROWS, VectorFile, parse_vector_type, without_hole_punching
from app.errors import LookalikeError, UnavailableError
from app.search.local.checksums import checksums

DIM = 5
CHUNK_BYTES = CHUNK_ROWS * DIM * 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vectors" / "1.f32"


@pytest.fixture
def vectors(path: Path) -> Iterator[VectorFile]:
    with closing(VectorFile(path, DIM)) as opened:
        yield opened


def at(*slots: int) -> NDArray[np.int64]:
    return np.array(slots, np.int64)


def some(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def test_written_rows_are_read(vectors: VectorFile) -> None:
    rows = some(3)
    vectors.write(at(7, 2, 5000), rows)
    assert np.array_equal(vectors.mapped_rows(at(7, 2, 5000))[at(7, 2, 5000)], rows)


def test_checksum_is_the_crc32_of_a_row(vectors: VectorFile) -> None:
    rows = some(2)
    assert vectors.write(at(0, 1), rows).tolist() == [zlib.crc32(row.tobytes()) for row in rows]
    # Rows of a strided view are not contiguous in memory.
    assert checksums(np.repeat(rows, 2, axis=0)[::2]).tolist() == checksums(rows).tolist()


def test_file_grows_in_chunks_and_never_shrinks(vectors: VectorFile) -> None:
    assert vectors.bytes_on_disk == 0
    vectors.write(at(0), some(1))
    assert vectors.bytes_on_disk == CHUNK_BYTES
    vectors.write(at(CHUNK_ROWS), some(1))
    assert vectors.bytes_on_disk == 2 * CHUNK_BYTES
    vectors.write(at(1), some(1))
    assert vectors.bytes_on_disk == 2 * CHUNK_BYTES


def test_file_mode_is_0600(vectors: VectorFile, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_rows_written_after_opening_are_visible_to_readers(vectors: VectorFile, path: Path) -> None:
    with closing(VectorFile(path, DIM)) as reader:
        assert reader.mapped_rows(at()).shape == (0, DIM)
        rows = some(2)
        expected = vectors.write(at(0, CHUNK_ROWS), rows)
        assert reader.verify(at(0, CHUNK_ROWS), expected).all()
        assert np.array_equal(reader.mapped_rows(at(CHUNK_ROWS))[CHUNK_ROWS], rows[1])


def test_mapping_survives_growth_and_close(path: Path) -> None:
    rows = some(1)
    with closing(VectorFile(path, DIM)) as vectors:
        vectors.write(at(3), rows)
        held = vectors.mapped_rows(at(3))
        vectors.write(at(CHUNK_ROWS), some(1))
        vectors.mapped_rows(at(CHUNK_ROWS))
    assert np.array_equal(held[3], rows[0])


def test_damaged_rows_are_detected_until_they_are_repaired(path: Path) -> None:
    with closing(VectorFile(path, DIM)) as vectors:
        expected = vectors.write(at(0, 1, 2), some(3))
    with closing(VectorFile(path, DIM)) as vectors, path.open("r+b") as file:
        whole = file.read(1)
        file.seek(DIM * 4)
        byte = file.read(1)
        file.seek(DIM * 4)
        file.write(bytes([byte[0] ^ 1]))
        file.flush()
        assert vectors.verify(at(0, 1, 2), expected).tolist() == [True, False, True]
        assert vectors.verify(at(1), expected[1:2]).tolist() == [False]
        file.seek(DIM * 4)
        file.write(byte)
        file.flush()
        assert vectors.verify(at(0, 1, 2), expected).all()
    assert whole == path.read_bytes()[:1]


def test_slot_beyond_the_end_of_the_file_is_not_intact(vectors: VectorFile) -> None:
    expected = vectors.write(at(0), some(1))
    both = np.concatenate([expected, expected])
    assert vectors.verify(at(0, 9 * CHUNK_ROWS), both).tolist() == [True, False]


def test_unwritten_slot_is_not_intact(vectors: VectorFile) -> None:
    expected = vectors.write(at(0), some(1))
    assert vectors.verify(at(1), expected).tolist() == [False]


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_raises_and_keeps_existing_rows(
    vectors: VectorFile, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    rows = some(2)
    expected = vectors.write(at(0), rows[:1])
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing(number))
        with pytest.raises(UnavailableError, match="full"):
            vectors.write(at(CHUNK_ROWS), rows[1:])
    assert vectors.verify(at(0), expected).all()
    assert vectors.verify(at(CHUNK_ROWS), vectors.write(at(CHUNK_ROWS), rows[1:])).all()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_failed_sync_fails_for_all_concurrent_writers(
    vectors: VectorFile, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The kernel reports a failure once, so a second sync would succeed."""
    errors = iter([OSError(number, os.strerror(number))])
    both, arrived = threading.Barrier(2), threading.Barrier(2)
    write = vectors._write_row

    def meet(slot: int, row: bytes) -> None:
        write(slot, row)
        both.wait(10)

    def fsync(_fd: int) -> None:
        with suppress(threading.BrokenBarrierError):
            arrived.wait(0.2)
        for error in errors:
            raise error

    monkeypatch.setattr(vectors, "_write_row", meet)
    monkeypatch.setattr(os, "fsync", fsync)
    with ThreadPoolExecutor(2) as threads:
        writing = [threads.submit(vectors.write, at(slot), some(1)) for slot in range(2)]
    for future in writing:
        with pytest.raises(UnavailableError, match="The disk failed"):
            future.result()


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_broken_disk_stops_all_writes(vectors: VectorFile, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", failing(number))
        with pytest.raises(UnavailableError, match="The disk failed"):
            vectors.write(at(0), some(1))
    with pytest.raises(UnavailableError, match="The disk failed"):
        vectors.write(at(0), some(1))


def test_transient_write_error_does_not_stop_later_writes(vectors: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", failing(errno.EAGAIN))
        with pytest.raises(UnavailableError, match="Writing to the disk"):
            vectors.write(at(0), some(1))
    vectors.write(at(0), some(1))


def failing(number: int) -> object:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_partial_writes_are_completed(vectors: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: write(fd, data[:3], offset))
    rows = some(2)
    assert vectors.verify(at(0, 1), vectors.write(at(0, 1), rows)).all()


def test_concurrent_writes_and_reads_during_growth(vectors: VectorFile) -> None:
    rows = some(24)
    slots = at(*(step * (CHUNK_ROWS // 2) for step in range(24)))

    def write_and_look(number: int) -> bool:
        mine = slice(number, number + 1)
        written = vectors.write(slots[mine], rows[mine])
        return bool(vectors.verify(slots[mine], written).all())

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(write_and_look, range(24)))
    assert np.array_equal(vectors.mapped_rows(slots)[slots], rows)


def test_float16_vectors_take_half_the_space(path: Path) -> None:
    rows = some(3)
    with closing(VectorFile(path, DIM, "f16")) as vectors:
        expected = vectors.write(at(7, 2, 5000), rows)
        assert expected.tolist() == [zlib.crc32(row.tobytes()) for row in rows.astype(np.float16)]
        assert vectors.bytes_on_disk == 2 * CHUNK_ROWS * DIM * 2
        assert np.array_equal(vectors.mapped_rows(at(5000))[at(7, 2, 5000)], rows.astype(np.float16))
        assert vectors.verify(at(7, 2, 5000), expected).all()


def test_unknown_vector_type_is_named() -> None:
    assert parse_vector_type("f16") == "f16"
    with pytest.raises(LookalikeError, match="stores vectors as f8"):
        parse_vector_type("f8")


def test_freed_rows_release_disk_space_and_others_are_unchanged(path: Path) -> None:
    rows = some(CHUNK_ROWS)
    with closing(VectorFile(path, DIM)) as vectors:
        checked = vectors.write(np.arange(CHUNK_ROWS), rows)
        freed = np.arange(1000, 3000)
        assert vectors.free(freed[::-1])
        assert vectors.bytes_on_disk <= CHUNK_BYTES - len(freed) * DIM * 4 + 2 * mmap.PAGESIZE
        kept = np.setdiff1d(np.arange(CHUNK_ROWS), freed)
        assert np.array_equal(vectors.mapped_rows(kept)[kept], rows[kept])
        assert vectors.verify(kept, checked[kept]).all()


def test_freed_rows_between_others_release_whole_pages(path: Path) -> None:
    slots = np.arange(CHUNK_ROWS)
    with closing(VectorFile(path, 1280)) as vectors:
        rows = np.random.default_rng(0).normal(size=(CHUNK_ROWS, 1280)).astype(np.float32)
        checked = vectors.write(slots, rows)
        before = vectors.bytes_on_disk
        # A row is 5/4 of a page: of four rows, only the first and the last contain a whole page.
        vectors.free(slots[::2])
        # The file system needs some space for the list of holes.
        assert vectors.bytes_on_disk == pytest.approx(before - CHUNK_ROWS // 4 * mmap.PAGESIZE, rel=0.01)
        assert vectors.verify(slots[1::2], checked[1::2]).all()


def test_growth_keeps_holes(vectors: VectorFile) -> None:
    vectors.write(np.arange(CHUNK_ROWS), some(CHUNK_ROWS))
    vectors.free(np.arange(CHUNK_ROWS))
    assert vectors.bytes_on_disk == 0
    vectors.write(at(CHUNK_ROWS), some(1))
    assert vectors.bytes_on_disk == CHUNK_BYTES


def test_free_beyond_the_end_of_the_file_is_a_no_op(vectors: VectorFile) -> None:
    vectors.write(at(0), some(1))
    assert vectors.free(at(10**9))
    assert vectors.bytes_on_disk == CHUNK_BYTES


def test_free_waits_for_readers_of_the_whole_file(vectors: VectorFile, path: Path) -> None:
    checked = vectors.write(np.arange(CHUNK_ROWS), some(CHUNK_ROWS))
    with without_hole_punching(path.parent), without_hole_punching(path.parent):
        assert not vectors.free(np.arange(CHUNK_ROWS))
        assert vectors.verify(np.arange(CHUNK_ROWS), checked).all()
    assert vectors.free(np.arange(CHUNK_ROWS))
    assert vectors.bytes_on_disk == 0


def test_free_without_sparse_files_is_a_no_op(vectors: VectorFile, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors.write(np.arange(CHUNK_ROWS), some(CHUNK_ROWS))
    monkeypatch.setattr(mmap, "MADV_REMOVE", 1 << 20)
    assert vectors.free(np.arange(CHUNK_ROWS))
    assert vectors.bytes_on_disk == CHUNK_BYTES


def test_free_without_file_locks_is_a_no_op(vectors: VectorFile, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, f"No locks available for {fd}, {operation}")

    vectors.write(np.arange(CHUNK_ROWS), some(CHUNK_ROWS))
    monkeypatch.setattr(fcntl, "flock", flock)
    with without_hole_punching(path.parent):
        assert vectors.free(np.arange(CHUNK_ROWS))
    assert vectors.bytes_on_disk == CHUNK_BYTES
