"""Archives as sources: contents, tables, limits, damage, and memory."""

import io
import json
import os
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInputError
from app.ingest.sources.archives.archive import Archive, is_archive
from app.ingest.sources.archives.members import ArchiveLimits, ArchiveRefusedError, normalised
from app.ingest.sources.items import UnusableError, require_storable
from tests.ingest.archives import Raw, extension, gzipped, inflating, raw_zip, record, tarred, zipped
from tests.ingest.entries import read

LIMITS = ArchiveLimits(1000, members=50, bytes=100_000)
FILES = {"boots/one.jpg": b"1", "./hats/two.PNG": b"22", "/three.gif": b"333", "notes.txt": b"none", "a/._one.jpg": b""}
MAKERS: list[Callable[[Mapping[str, bytes]], bytes]] = [zipped, tarred, gzipped]

makers = pytest.mark.parametrize("made", MAKERS, ids=["zip", "tar", "tar.gz"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def archive(data: bytes, limits: ArchiveLimits = LIMITS) -> Archive:
    return Archive(io.BytesIO(data), limits, "archive")


def found(source: Archive) -> dict[str, bytes | str]:
    """The bytes of each entry, or the reason of its rejection, by key."""
    entries = list(source.entries())
    # A truncated last file was counted in the first pass.
    assert source.count() - len(entries) in ((0, 1) if source.damage else (0,))
    return {entry.key: read(entry) for entry in entries}


@makers
def test_entries_have_path_as_key_and_folder_as_label(
    made: Callable[[Mapping[str, bytes]], bytes],
) -> None:
    source = archive(made(FILES))
    entries = [(entry.key, entry.given, entry.read()) for entry in source.entries()]
    assert entries == [
        ("boots/one.jpg", {"label": "boots"}, b"1"),
        ("hats/two.PNG", {"label": "hats"}, b"22"),
        ("three.gif", {}, b"333"),
    ]
    assert source.count() == 3
    assert source.damage is None
    assert [entry.key for entry in source.entries()] == [key for key, _, _ in entries], (
        "a second iteration yields the same"
    )


@makers
@pytest.mark.parametrize("place", ["", "photos/"])
def test_table_overrides_keys_and_labels_and_adds_metadata(
    made: Callable[[Mapping[str, bytes]], bytes], place: str
) -> None:
    rows = [
        {"file": "a/one.jpg", "key": "sku-1", "label": "boots", "price": 3},
        {"file": "a/one.jpg", "key": "sku-2"},
        {"file": "two.data", "size": 4},
        {"file": "gone.jpg", "key": "sku-3"},
        ["no object"],
    ]
    files = {f"{place}a/one.jpg": b"1", f"{place}two.data": b"2", f"{place}b/three.jpg": b"3", "four.data": b"4"}
    table = {f"{place}metadata.jsonl": "\n".join(map(json.dumps, rows)).encode()}
    for order in ({**files, **table}, {**table, **files}):
        source = archive(made(order))
        assert found(source) == {
            "sku-1": b"1",
            "sku-2": b"1",
            "two.data": b"2",
            f"{place}b/three.jpg": b"3",
            "sku-3": "The archive has no file gone.jpg.",
            "line 5": "Not a JSON object.",
        }
        patches = {entry.key: entry.given for entry in source.entries()}
        assert patches["sku-1"] == {"label": "boots", "metadata": {"price": 3}}
        assert (patches["sku-2"], patches["two.data"]) == ({}, {"metadata": {"size": 4}})
        assert patches[f"{place}b/three.jpg"] == {"label": "b"}


def test_table_without_file_column_is_rejected() -> None:
    with pytest.raises(InvalidInputError, match="no column 'file'"):
        archive(zipped({"metadata.csv": b"name,label\nx,y\n"})).count()


@makers
def test_file_larger_than_the_limit_is_rejected(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    source = archive(made({"large.jpg": bytes(1001), "small.jpg": b"1"}))
    assert found(source) == {
        "large.jpg": "The file is larger than 1,000 bytes, the maximum.",
        "small.jpg": b"1",
    }


@makers
def test_archive_with_too_many_files_or_bytes_is_rejected(
    made: Callable[[Mapping[str, bytes]], bytes],
) -> None:
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(made({f"{at}.txt": b"" for at in range(51)})).count()
    with pytest.raises(ArchiveRefusedError, match="unpacks to more than 100,000 bytes"):
        archive(made({"a.bin": bytes(60_000), "b.bin": bytes(60_000)})).count()


@makers
def test_table_rows_count_towards_the_limit(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    table = b"file\n" + b"a.jpg\n" * 51
    with pytest.raises(InvalidInputError, match="more than 50 rows"):
        archive(made({"metadata.csv": table, "a.jpg": b"1"})).count()
    lines = b'{"file": "a.jpg"}\n' * 51
    with pytest.raises(InvalidInputError, match="more than 50 rows"):
        archive(made({"metadata.jsonl": lines, "a.jpg": b"1"})).count()


def test_duplicate_files_count_once_per_table_row() -> None:
    table = b"file,key\n" + b"".join(b"a.jpg,%d\n" % at for at in range(10))
    members = [Raw(b"metadata.csv", table, len(table), zlib.crc32(table), zipfile.ZIP_STORED)]
    members += [Raw(b"a.jpg", b"1", 1, zlib.crc32(b"1"), zipfile.ZIP_STORED)] * 6
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(raw_zip(members)).count()


@pytest.mark.parametrize("crc", [0, zlib.crc32(bytes(1000))], ids=["wrong checksum", "checksum of what is declared"])
@pytest.mark.parametrize("declared", [0, 999, 1000])
def test_file_that_inflates_past_its_declared_size_is_rejected_alone(declared: int, crc: int) -> None:
    bomb = Raw(b"bomb.jpg", inflating(50_000_000), declared, crc)
    good = Raw(b"good.jpg", b"good", 4, zlib.crc32(b"good"), zipfile.ZIP_STORED)
    tracemalloc.start()
    there = found(archive(raw_zip([bomb, good])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"more than the declared {declared:,} bytes" in str(there.pop("bomb.jpg"))
    assert there == {"good.jpg": b"good"}
    assert peak < 10_000_000, "inflated in bounded steps"


@pytest.mark.parametrize(
    ("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA"), (9, "deflate64"), (77, "method 77")]
)
def test_unsupported_compression_methods_are_named_in_the_rejection(method: int, name: str) -> None:
    packed = Raw(b"packed.jpg", b"whatever", 100, method=method)
    good = Raw(b"good.jpg", b"good", 4, zlib.crc32(b"good"), zipfile.ZIP_STORED)
    there = found(archive(raw_zip([packed, good])))
    assert f"compressed with {name}." in str(there.pop("packed.jpg"))
    assert there == {"good.jpg": b"good"}


def test_zip_declaring_too_many_files_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(raw_zip([Raw(b"a.jpg", b"", 0)], declared=51)).count()


def test_zip64_declaring_too_many_files_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 50)
    whole = zipped({f"{at}.txt": b"" for at in range(51)})
    assert b"PK\x06\x06" in whole
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(whole).count()


def test_zip_declaring_fewer_files_than_it_has_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    for whole in (raw_zip([Raw(b"a", b"", 0)] * 51, declared=1), b"before" + raw_zip([Raw(b"a", b"", 0)] * 51, 1)):
        with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
            Archive(io.BytesIO(b"PK\x03\x04" + whole), LIMITS).count()


def test_zip_with_an_oversized_directory_is_rejected_unread() -> None:
    whole = bytearray(zipped({"a.jpg": b"1"}))
    end = whole.rindex(b"PK\x05\x06")
    struct.pack_into("<I", whole, end + 12, 2**31)
    with pytest.raises(ArchiveRefusedError, match="directory"):
        archive(bytes(whole)).count()


@pytest.mark.parametrize("made", [tarred, gzipped], ids=["tar", "tar.gz"])
def test_truncated_tar_yields_files_before_the_cut(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    files = {f"{at}.jpg": os.urandom(900) for at in range(20)}
    whole = made(files)
    source = archive(whole[: len(whole) // 2])
    there = found(source)
    assert "damaged" in str(there.pop("archive: rest of the archive"))
    assert 5 < len(there) < 15
    assert there == {key: files[key] for key in there}
    assert "damaged" in (source.damage or "")


def test_damaged_tar_header_is_reported_as_damage() -> None:
    whole = bytearray(tarred({f"{at}.jpg": b"1" for at in range(4)}, tarfile.USTAR_FORMAT))
    whole[2 * 1024 + 3] ^= 0xFF
    source = archive(bytes(whole))
    assert list(found(source)) == ["0.jpg", "1.jpg", "archive: rest of the archive"]
    assert source.damage is not None


def test_truncated_zip_is_rejected() -> None:
    source = archive(zipped(FILES)[:-40])
    (reason,) = found(source).values()
    assert "truncated zip archive cannot be read" in str(reason)


def test_damaged_zip_member_is_rejected_alone() -> None:
    files = {"one.jpg": b"1" * 100, "two.jpg": b"2" * 100, "three.jpg": b"3" * 100}
    whole = zipped(files, zipfile.ZIP_STORED).replace(b"2" * 100, b"2" * 99 + b"x")
    there = found(archive(whole))
    assert "damaged" in str(there.pop("two.jpg"))
    assert there == {"one.jpg": b"1" * 100, "three.jpg": b"3" * 100}


def test_encrypted_zip_member_is_rejected_alone() -> None:
    whole = bytearray(zipped({"one.jpg": b"1", "two.jpg": b"2"}, zipfile.ZIP_STORED))
    directory = whole.index(b"PK\x01\x02")
    whole[directory + 8] |= 1
    assert found(archive(bytes(whole))) == {"one.jpg": "The file is encrypted.", "two.jpg": b"2"}


def test_long_and_non_ascii_names_are_read() -> None:
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        files = {f"{'long/' * 40}{'n' * 90}.jpg": b"1", "ключ 🥾.jpg": b"2", f"{'x' * 120}.jpg": b"3"}
        assert found(archive(tarred(files, kind))) == files
    assert found(archive(zipped({"ключ 🥾.jpg": b"2"}))) == {"ключ 🥾.jpg": b"2"}


def test_invalid_utf8_in_names_is_replaced() -> None:
    whole = tarred({os.fsdecode(b"caf\xe9.jpg"): b"1"}, tarfile.USTAR_FORMAT)
    assert found(archive(whole)) == {"caf\N{REPLACEMENT CHARACTER}.jpg": b"1"}


def test_oversized_tar_extension_is_not_read() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**33
    source = archive(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "header extensions are too long" in str(found(source)["archive: rest of the archive"])


def test_tar_extensions_are_parsed_in_linear_time() -> None:
    records = record(b"a", b"b") * 150_000
    path = record(b"path", b"named.jpg")
    file = tarfile.TarInfo("x.jpg")
    file.size = 1
    whole = extension(records + path) + file.tobuf() + b"1" + bytes(511) + bytes(1024)
    began = time.process_time()
    assert found(archive(whole, replace(LIMITS, bytes=10**9))) == {"named.jpg": b"1"}
    assert time.process_time() - began < 5


@pytest.mark.parametrize("count", [17, 1000])
def test_too_many_tar_extensions_are_reported_as_damage(count: int) -> None:
    source = archive(tarred({"one.jpg": b"1"})[:1024] + extension(record(b"a", b"b")) * count + bytes(1024))
    there = found(source)
    assert there.pop("one.jpg") == b"1"
    assert "header extensions are too long" in str(there["archive: rest of the archive"])


def test_tar_extensions_count_towards_the_byte_limit() -> None:
    file = tarfile.TarInfo("x.txt").tobuf()
    whole = (extension(record(b"comment", bytes(30_000))) + file) * 4 + bytes(1024)
    with pytest.raises(ArchiveRefusedError, match="unpacks to more than 100,000 bytes"):
        archive(whole).count()


@pytest.mark.parametrize("digits", [21, 5000])
@pytest.mark.parametrize("what", ["a size", "a length"])
def test_overlong_numbers_in_tar_headers_are_reported_as_damage(digits: int, what: str) -> None:
    bad = record(b"size", b"9" * digits) if what == "a size" else b"9" * digits + b" a=b\n"
    source = archive(tarred({"one.jpg": b"1"})[:1024] + extension(bad) + tarred({"two.jpg": b"2"}))
    there = found(source)
    assert there.pop("one.jpg") == b"1"
    assert "The archive is damaged" in str(there.pop("archive: rest of the archive"))
    assert there == {}
    assert "damaged" in (source.damage or "")


@makers
def test_skipped_entries_are_yielded_unread(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    table = b"file,key\nb.jpg,b1\nb.jpg,b2\nb.jpg,b3\n"
    whole = made({"a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c", "metadata.csv": table})
    keys = ["a.jpg", "b1", "b2", "b3", "c.jpg"]
    for first in range(6):
        entries = list(archive(whole).entries(first))
        assert [entry.key for entry in entries] == keys
        assert all(read(entry) == entry.key[0].encode() for entry in entries[first:])
        assert read(entries[0]) == (b"a" if first == 0 else "The file was skipped.")


@given(st.text(st.sampled_from("a./"), max_size=12))
def test_names_are_normalised_to_relative_paths(name: str) -> None:
    assert normalised(name) == PurePosixPath(name.lstrip("/")).as_posix()


@given(st.binary(max_size=3000), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\0"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_rejected(data: bytes, head: bytes) -> None:
    read_within_limits(head + data)


@given(
    st.sampled_from([made({**FILES, "metadata.csv": b"file,key\nnotes.txt,n\n"}) for made in MAKERS]),
    st.lists(st.tuples(st.integers(0, 20_000), st.binary(min_size=1, max_size=8)), max_size=8),
    st.integers(0, 20_000),
)
@settings(max_examples=500, deadline=None)
def test_corrupted_archives_are_read_or_rejected(whole: bytes, changes: list[tuple[int, bytes]], end: int) -> None:
    damaged = bytearray(whole)
    for at, new in changes:
        damaged[at % len(whole) : at % len(whole) + len(new)] = new
    read_within_limits(bytes(damaged[: len(damaged) - end % 3]))


def read_within_limits(data: bytes) -> None:
    """Read an archive completely: only ArchiveRefusedError and InvalidInputError may be raised, limits hold."""
    source = archive(data)
    try:
        total, entries = source.count(), list(source.entries())
    except (ArchiveRefusedError, InvalidInputError):
        return
    assert len(entries) <= total <= 50
    for entry in entries:
        words = read(entry)
        assert isinstance(words, str) or len(words) <= 1000


def test_overlong_name_is_rejected_as_a_key() -> None:
    source = archive(gzipped({f"{'n' * 300_000}.jpg": b"1", "one.jpg": b"1"}), replace(LIMITS, bytes=10**6))
    long, short = source.entries()
    assert (len(long.key), short.key) == (1024, "one.jpg")
    with pytest.raises(UnusableError, match="longer than 512"):
        require_storable(long)


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"", False),
        (b"not an archive", False),
        (b"x" * 2000, False),
        (b"\x1f\x8b" + b"x" * 600, False),
        # An unterminated name in the gzip header.
        (b"\x1f\x8b\x08\x08" + b"x" * 200_000, False),
        (bytes(1024), True),
        (zipped({}), True),
        (tarred({"a": b""}), True),
        (gzipped({"a": b""}), True),
    ],
    ids=["empty", "text", "x", "gzip of x", "gzip without an end", "empty tar", "empty zip", "tar", "tar.gz"],
)
def test_archives_are_detected_by_their_first_bytes(path: Path, data: bytes, is_one: bool) -> None:
    path.write_bytes(data)
    assert is_archive(path) == is_one
