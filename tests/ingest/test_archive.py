"""Archives as sources: what is in them is found, what is wrong with them is said, and nothing is unpacked."""

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
from app.ingest.sources.archive import Archive, is_archive
from app.ingest.sources.archive_members import ArchiveLimits, ArchiveRefusedError, plain
from app.ingest.sources.items import Entry, UnusableError, check
from tests.ingest.archives import Raw, extension, gzipped, inflating, raw_zip, record, tarred, zipped

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
    """What each entry gives when it is read: its bytes, or why not."""
    entries = list(source.entries())
    # A file in whose middle the archive ends was counted before anybody knew.
    assert source.count() - len(entries) in ((0, 1) if source.damage else (0,))
    return {entry.key: read(entry) for entry in entries}


def read(entry: Entry) -> bytes | str:
    try:
        return entry.read()
    except UnusableError as error:
        return str(error)


@makers
def test_pictures_come_with_their_path_as_key_and_their_folder_as_label(
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
    assert [entry.key for entry in source.entries()] == [key for key, _, _ in entries], "it can be gone through again"


@makers
@pytest.mark.parametrize("place", ["", "photos/"])
def test_a_table_says_more(made: Callable[[Mapping[str, bytes]], bytes], place: str) -> None:
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
            "sku-3": "There is no file gone.jpg.",
            "line 5": "This is not a JSON object.",
        }
        said = {entry.key: entry.given for entry in source.entries()}
        assert said["sku-1"] == {"label": "boots", "metadata": {"price": 3}}
        assert (said["sku-2"], said["two.data"]) == ({}, {"metadata": {"size": 4}})
        assert said[f"{place}b/three.jpg"] == {"label": "b"}


def test_a_table_that_is_none_is_said() -> None:
    with pytest.raises(InvalidInputError, match="no column 'file'"):
        archive(zipped({"metadata.csv": b"name,label\nx,y\n"})).count()


@makers
def test_a_file_that_is_too_large_is_not_read(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    source = archive(made({"large.jpg": bytes(1001), "small.jpg": b"1"}))
    assert found(source) == {
        "large.jpg": "The file has more than 1,000 bytes, the most that is taken.",
        "small.jpg": b"1",
    }


@makers
def test_too_many_files_or_bytes_are_refused_before_anything_is_taken(
    made: Callable[[Mapping[str, bytes]], bytes],
) -> None:
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(made({f"{at}.txt": b"" for at in range(51)})).count()
    with pytest.raises(ArchiveRefusedError, match="unpacks to more than 100,000 bytes"):
        archive(made({"a.bin": bytes(60_000), "b.bin": bytes(60_000)})).count()


@makers
def test_rows_of_the_table_are_entries_too(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    table = b"file\n" + b"a.jpg\n" * 51
    with pytest.raises(InvalidInputError, match="more than 50 rows"):
        archive(made({"metadata.csv": table, "a.jpg": b"1"})).count()
    lines = b'{"file": "a.jpg"}\n' * 51
    with pytest.raises(InvalidInputError, match="more than 50 rows"):
        archive(made({"metadata.jsonl": lines, "a.jpg": b"1"})).count()


def test_files_that_are_there_often_count_for_each_of_their_rows() -> None:
    table = b"file,key\n" + b"".join(b"a.jpg,%d\n" % at for at in range(10))
    members = [Raw(b"metadata.csv", table, len(table), zlib.crc32(table), zipfile.ZIP_STORED)]
    members += [Raw(b"a.jpg", b"1", 1, zlib.crc32(b"1"), zipfile.ZIP_STORED)] * 6
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(raw_zip(members)).count()


@pytest.mark.parametrize("crc", [0, zlib.crc32(bytes(1000))], ids=["wrong checksum", "checksum of what is declared"])
@pytest.mark.parametrize("declared", [0, 999, 1000])
def test_a_file_that_inflates_past_its_declared_size_is_refused_alone(declared: int, crc: int) -> None:
    bomb = Raw(b"bomb.jpg", inflating(50_000_000), declared, crc)
    good = Raw(b"good.jpg", b"good", 4, zlib.crc32(b"good"), zipfile.ZIP_STORED)
    tracemalloc.start()
    there = found(archive(raw_zip([bomb, good])))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert f"more than the {declared:,} bytes that it declares" in str(there.pop("bomb.jpg"))
    assert there == {"good.jpg": b"good"}
    assert peak < 10_000_000, "it was read in bounded steps"


@pytest.mark.parametrize(
    ("method", "name"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA"), (9, "deflate64"), (77, "method 77")]
)
def test_files_that_are_neither_stored_nor_deflated_are_refused_by_name(method: int, name: str) -> None:
    packed = Raw(b"packed.jpg", b"whatever", 100, method=method)
    good = Raw(b"good.jpg", b"good", 4, zlib.crc32(b"good"), zipfile.ZIP_STORED)
    there = found(archive(raw_zip([packed, good])))
    assert f"compressed with {name};" in str(there.pop("packed.jpg"))
    assert there == {"good.jpg": b"good"}


def test_a_zip_is_refused_by_the_number_of_files_that_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(raw_zip([Raw(b"a.jpg", b"", 0)], declared=51)).count()


def test_a_zip64_is_refused_by_the_number_of_files_that_it_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 50)
    whole = zipped({f"{at}.txt": b"" for at in range(51)})
    assert b"PK\x06\x06" in whole
    monkeypatch.setattr(zipfile, "ZipFile", None)
    with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
        archive(whole).count()


def test_a_zip_that_declares_fewer_files_than_it_has_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZipFile", None)
    for whole in (raw_zip([Raw(b"a", b"", 0)] * 51, declared=1), b"before" + raw_zip([Raw(b"a", b"", 0)] * 51, 1)):
        with pytest.raises(ArchiveRefusedError, match="more than 50 files"):
            Archive(io.BytesIO(b"PK\x03\x04" + whole), LIMITS).count()


def test_a_directory_of_a_zip_that_claims_too_much_is_not_read() -> None:
    whole = bytearray(zipped({"a.jpg": b"1"}))
    end = whole.rindex(b"PK\x05\x06")
    struct.pack_into("<I", whole, end + 12, 2**31)
    with pytest.raises(ArchiveRefusedError, match="directory"):
        archive(bytes(whole)).count()


@pytest.mark.parametrize("made", [tarred, gzipped], ids=["tar", "tar.gz"])
def test_of_a_tar_that_was_cut_off_what_came_before_is_there(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    files = {f"{at}.jpg": os.urandom(900) for at in range(20)}
    whole = made(files)
    source = archive(whole[: len(whole) // 2])
    there = found(source)
    assert "damaged" in str(there.pop("archive: all that comes after"))
    assert 5 < len(there) < 15
    assert there == {key: files[key] for key in there}
    assert "damaged" in (source.damage or "")


def test_a_tar_whose_header_is_damaged_does_not_pass_for_a_shorter_one() -> None:
    whole = bytearray(tarred({f"{at}.jpg": b"1" for at in range(4)}, tarfile.USTAR_FORMAT))
    whole[2 * 1024 + 3] ^= 0xFF
    source = archive(bytes(whole))
    assert list(found(source)) == ["0.jpg", "1.jpg", "archive: all that comes after"]
    assert source.damage is not None


def test_of_a_zip_that_was_cut_off_nothing_can_be_read() -> None:
    source = archive(zipped(FILES)[:-40])
    (reason,) = found(source).values()
    assert "nothing can be read without its end" in str(reason)


def test_of_a_zip_with_a_damaged_file_the_others_come_in() -> None:
    files = {"one.jpg": b"1" * 100, "two.jpg": b"2" * 100, "three.jpg": b"3" * 100}
    whole = zipped(files, zipfile.ZIP_STORED).replace(b"2" * 100, b"2" * 99 + b"x")
    there = found(archive(whole))
    assert "damaged" in str(there.pop("two.jpg"))
    assert there == {"one.jpg": b"1" * 100, "three.jpg": b"3" * 100}


def test_an_encrypted_file_is_refused_alone() -> None:
    whole = bytearray(zipped({"one.jpg": b"1", "two.jpg": b"2"}, zipfile.ZIP_STORED))
    directory = whole.index(b"PK\x01\x02")
    whole[directory + 8] |= 1
    assert found(archive(bytes(whole))) == {"one.jpg": "The file is encrypted.", "two.jpg": b"2"}


def test_names_of_every_length_and_kind_are_read() -> None:
    for kind in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        files = {f"{'long/' * 40}{'n' * 90}.jpg": b"1", "ключ 🥾.jpg": b"2", f"{'x' * 120}.jpg": b"3"}
        assert found(archive(tarred(files, kind))) == files
    assert found(archive(zipped({"ключ 🥾.jpg": b"2"}))) == {"ключ 🥾.jpg": b"2"}


def test_a_name_that_is_not_utf_8_is_read_with_its_bytes_replaced() -> None:
    whole = tarred({os.fsdecode(b"caf\xe9.jpg"): b"1"}, tarfile.USTAR_FORMAT)
    assert found(archive(whole)) == {"caf\N{REPLACEMENT CHARACTER}.jpg": b"1"}


def test_an_extension_of_absurd_length_is_not_read_into_memory() -> None:
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 2**33
    source = archive(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "absurd" in str(found(source)["archive: all that comes after"])


def test_extensions_of_a_tar_take_time_in_proportion_to_their_length() -> None:
    records = record(b"a", b"b") * 150_000
    path = record(b"path", b"named.jpg")
    file = tarfile.TarInfo("x.jpg")
    file.size = 1
    whole = extension(records + path) + file.tobuf() + b"1" + bytes(511) + bytes(1024)
    began = time.process_time()
    assert found(archive(whole, replace(LIMITS, bytes=10**9))) == {"named.jpg": b"1"}
    assert time.process_time() - began < 5


@pytest.mark.parametrize("count", [17, 1000])
def test_a_file_with_too_many_extensions_is_damage(count: int) -> None:
    source = archive(tarred({"one.jpg": b"1"})[:1024] + extension(record(b"a", b"b")) * count + bytes(1024))
    there = found(source)
    assert there.pop("one.jpg") == b"1"
    assert "absurd" in str(there["archive: all that comes after"])


def test_extensions_of_a_tar_count_towards_its_bytes() -> None:
    file = tarfile.TarInfo("x.txt").tobuf()
    whole = (extension(record(b"comment", bytes(30_000))) + file) * 4 + bytes(1024)
    with pytest.raises(ArchiveRefusedError, match="unpacks to more than 100,000 bytes"):
        archive(whole).count()


@pytest.mark.parametrize("digits", [21, 5000])
@pytest.mark.parametrize("what", ["a size", "a length"])
def test_numbers_of_absurd_length_are_damage_and_what_came_before_is_kept(digits: int, what: str) -> None:
    bad = record(b"size", b"9" * digits) if what == "a size" else b"9" * digits + b" a=b\n"
    source = archive(tarred({"one.jpg": b"1"})[:1024] + extension(bad) + tarred({"two.jpg": b"2"}))
    there = found(source)
    assert there.pop("one.jpg") == b"1"
    assert "The archive is damaged" in str(there.pop("archive: all that comes after"))
    assert there == {}
    assert "damaged" in (source.damage or "")


@makers
def test_entries_that_are_not_wanted_are_named_and_not_read(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    table = b"file,key\nb.jpg,b1\nb.jpg,b2\nb.jpg,b3\n"
    whole = made({"a.jpg": b"a", "b.jpg": b"b", "c.jpg": b"c", "metadata.csv": table})
    keys = ["a.jpg", "b1", "b2", "b3", "c.jpg"]
    for first in range(6):
        entries = list(archive(whole).entries(first))
        assert [entry.key for entry in entries] == keys
        assert all(read(entry) == entry.key[0].encode() for entry in entries[first:])
        assert read(entries[0]) == (b"a" if first == 0 else "The file was left out.")


@given(st.text(st.sampled_from("a./"), max_size=12))
def test_names_become_paths_below_the_archive(name: str) -> None:
    assert plain(name) == PurePosixPath(name.lstrip("/")).as_posix()


@given(st.binary(max_size=3000), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b\x08\0"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes, head: bytes) -> None:
    answered(head + data)


@given(
    st.sampled_from([made({**FILES, "metadata.csv": b"file,key\nnotes.txt,n\n"}) for made in MAKERS]),
    st.lists(st.tuples(st.integers(0, 20_000), st.binary(min_size=1, max_size=8)), max_size=8),
    st.integers(0, 20_000),
)
@settings(max_examples=500, deadline=None)
def test_archives_that_were_tampered_with_are_read_or_refused(
    whole: bytes, changes: list[tuple[int, bytes]], end: int
) -> None:
    damaged = bytearray(whole)
    for at, new in changes:
        damaged[at % len(whole) : at % len(whole) + len(new)] = new
    answered(bytes(damaged[: len(damaged) - end % 3]))


def answered(data: bytes) -> None:
    """Reads all of an archive; nothing but a refusal may be raised, and nothing passes the limits."""
    source = archive(data)
    try:
        total, entries = source.count(), list(source.entries())
    except (ArchiveRefusedError, InvalidInputError):
        return
    assert len(entries) <= total <= 50
    for entry in entries:
        words = read(entry)
        assert isinstance(words, str) or len(words) <= 1000


def test_a_name_of_absurd_length_is_refused_by_its_key_alone() -> None:
    source = archive(gzipped({f"{'n' * 300_000}.jpg": b"1", "one.jpg": b"1"}), replace(LIMITS, bytes=10**6))
    long, short = source.entries()
    assert (len(long.key), short.key) == (1024, "one.jpg")
    with pytest.raises(UnusableError, match="longer than 512"):
        check(long)


def test_links_and_devices_in_a_tar_are_passed_over() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        for name, kind in (
            ("link.jpg", tarfile.SYMTYPE),
            ("hard.jpg", tarfile.LNKTYPE),
            ("device.jpg", tarfile.CHRTYPE),
        ):
            header = tarfile.TarInfo(name)
            header.type, header.linkname = kind, "/etc/passwd"
            made.addfile(header)
    assert found(archive(buffer.getvalue())) == {}


@pytest.mark.parametrize(
    ("data", "is_one"),
    [
        (b"", False),
        (b"not an archive", False),
        (b"x" * 2000, False),
        (b"\x1f\x8b" + b"x" * 600, False),
        # A name without an end in the header: an archive of it could be gigabytes long.
        (b"\x1f\x8b\x08\x08" + b"x" * 200_000, False),
        (bytes(1024), True),
        (zipped({}), True),
        (tarred({"a": b""}), True),
        (gzipped({"a": b""}), True),
    ],
    ids=["empty", "text", "x", "gzip of x", "gzip without an end", "empty tar", "empty zip", "tar", "tar.gz"],
)
def test_an_archive_is_known_by_its_first_bytes(path: Path, data: bytes, is_one: bool) -> None:
    path.write_bytes(data)
    assert is_archive(path) == is_one
