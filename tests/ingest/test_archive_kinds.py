"""Archives as Windows, macOS and Unix write them: names, links, tables, and files that are left out."""

import gzip
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Literal
from unicodedata import normalize as normalise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ingest.sources.archives.survey import OTHER_TABLES, UNKNOWN_ENCODING
from models.data.left_out import HIDDEN_FILES, IN_HIDDEN_FOLDERS, IN_SYSTEM_FOLDERS, SYSTEM_FILES_FOUND
from tests.ingest.archives import (
    Raw,
    flagged_zip,
    gzipped,
    raw_zip,
    stored,
    tarred,
    zipped,
)
from tests.ingest.entries import archive, found, read

Form = Literal["NFC", "NFD"]
makers = pytest.mark.parametrize("made", [zipped, tarred, gzipped], ids=["zip", "tar", "tar.gz"])


def test_backslashes_in_a_zip_separate_folders() -> None:
    table = b"file,key\nboots\\one.jpg,b-1\nhats/two.jpg,h-1\n"
    source = archive(
        flagged_zip(
            stored(b"shop\\boots\\", b""),
            stored(b"shop\\boots\\one.jpg", b"1"),
            stored(b"shop\\hats\\two.jpg", b"2"),
            stored(b".\\shop\\hats\\three.jpg", b"3"),
            stored(b"shop\\metadata.csv", table),
        )
    )
    assert found(source) == {"b-1": b"1", "h-1": b"2", "shop/hats/three.jpg": b"3"}
    assert {entry.key: entry.given for entry in source.entries()}["shop/hats/three.jpg"] == {"label": "hats"}


@pytest.mark.parametrize(("flags", "local_flags"), [(0, 0), (0x800, 0x800), (0, 0x800), (0x800, 0)])
def test_utf8_names_are_read_with_and_without_the_flag(flags: int, local_flags: int) -> None:
    names = ["été/ключ 🥾.jpg", normalise("NFD", "hüte/é.jpg")]
    members = [stored(name.encode(), name.encode(), flags, local_flags) for name in names]
    source = archive(flagged_zip(*members, stored(b"metadata.csv", "file,key\nhüte/é.jpg,k\n".encode())))
    assert found(source) == {"été/ключ 🥾.jpg": names[0].encode(), "k": names[1].encode()}
    assert source.left_out.reasons == {}


def test_zip_names_in_another_encoding_are_read_and_reported() -> None:
    source = archive(flagged_zip(stored("Füße/größe.jpg".encode("cp437"), b"1"), stored(b"a.jpg", b"2")))
    assert found(source) == {"Füße/größe.jpg": b"1", "a.jpg": b"2"}
    assert list(source.left_out.lines()) == [f"{UNKNOWN_ENCODING}: 1 (Füße/größe.jpg)"]


def test_info_zip_field_has_the_name() -> None:
    member = stored(b"sch#n.jpg", b"1")
    name = "schön.jpg".encode()
    member.extra = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, zlib.crc32(member.name)) + name
    outdated = stored(b"other.jpg", b"2")
    outdated.extra = struct.pack("<HHBI", 0x7075, 5 + len(name), 1, 77) + name
    assert found(archive(flagged_zip(member, outdated))) == {"schön.jpg": b"1", "other.jpg": b"2"}


def test_name_that_is_wrongly_marked_as_utf8_rejects_its_file_alone() -> None:
    source = archive(flagged_zip(stored(b"a.jpg", b"1"), stored(b"caf\xe9.jpg", b"2", 0x800), stored(b"z.jpg", b"3")))
    there = found(source)
    assert (there.pop("a.jpg"), there.pop("z.jpg")) == (b"1", b"3")
    assert list(there.values()) == ["The file's name is marked as UTF-8, which it is not. Rename it."]
    only_directory = archive(flagged_zip(stored(b"caf\xe9.jpg", b"2", 0x800, 0), stored(b"z.jpg", b"3")))
    assert sorted(map(str, found(only_directory).values())) == ["b'2'", "b'3'"]
    assert only_directory.left_out.reasons[UNKNOWN_ENCODING].count == 1


def test_damaged_lzma_member_is_rejected_alone() -> None:
    damaged = Raw(b"a.jpg", b"\x09\x14\x05\x00\xff\xff\xff\xff\xff", 500, 1, zipfile.ZIP_LZMA)
    good = Raw(b"b.jpg", b"2", 1, zlib.crc32(b"2"), zipfile.ZIP_STORED)
    there = found(archive(raw_zip([damaged, good])))
    assert "compressed with LZMA" in str(there.pop("a.jpg"))
    assert there == {"b.jpg": b"2"}


@makers
@pytest.mark.parametrize("name", ["Metadata.csv", "METADATA.CSV", "photos/MetaData.Csv", "metadata.tsv"])
def test_table_is_found_in_any_case(made: Callable[[Mapping[str, bytes]], bytes], name: str) -> None:
    folder = "photos/" if "/" in name else ""
    delimiter = b"\t" if name.endswith("tsv") else b","
    table = b"file,key\none.jpg,k\n".replace(b",", delimiter)
    assert found(archive(made({f"{folder}one.jpg": b"1", name: table}))) == {"k": b"1"}


@makers
def test_uppermost_table_is_used_and_others_are_reported(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    files = {
        "a/metadata.csv": b"no table",
        "metadata.csv": b"file,key\none.jpg,k\n",
        "b/metadata.jsonl": b"",
        "one.jpg": b"1",
        "__MACOSX/metadata.csv": b"no table",
    }
    source = archive(made(files))
    assert found(source) == {"k": b"1"}
    assert source.left_out.reasons[OTHER_TABLES].names == ["a/metadata.csv", "b/metadata.jsonl"]


@makers
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_table_and_files_are_compared_in_one_form(made: Callable[[Mapping[str, bytes]], bytes], form: Form) -> None:
    other: Form = "NFD" if form == "NFC" else "NFC"
    name = normalise(form, "größe/é.jpg")
    table = "file,key\n" + normalise(other, "größe/é.jpg") + ",k\n"
    assert found(archive(made({name: b"1", "metadata.csv": table.encode()}))) == {"k": b"1"}
    (entry,) = archive(made({name: b"1"})).entries()
    assert (entry.key, entry.given) == ("größe/é.jpg", {"label": "größe"})


@makers
def test_file_of_a_row_that_cannot_be_used_has_no_other_key(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    table = b"file,key,price\none.jpg,k-1,1,299.00\ntwo.jpg,k-2,5\ngone.jpg,k-3,1,2\n"
    source = archive(made({"one.jpg": b"1", "two.jpg": b"2", "metadata.csv": table}))
    there = found(source)
    assert there.pop("k-2") == b"2"
    assert list(there) == ["k-1", "k-3"]
    assert all("4 values for 3 columns" in str(reason) for reason in there.values())


@makers
def test_hidden_and_system_files_are_left_out_and_counted(made: Callable[[Mapping[str, bytes]], bytes]) -> None:
    names = ["__MACOSX/a/._one.jpg", "__MACOSX/._one.jpg", "a/@eaDir/one.jpg/thumb.jpg", ".cache/x.jpg", "a/._one.jpg"]
    names += ["a/.hidden.jpg", "a/Thumbs.db", ".git/config", ".cache/named.jpg"]
    files = dict.fromkeys(names, b"no picture") | {"a/one.jpg": b"1"}
    source = archive(made({**files, "metadata.csv": b"file,key\n.cache/named.jpg,named\n"}))
    assert found(source) == {"a/one.jpg": b"1", "named": b"no picture"}
    counts = {reason: (examples.count, examples.names) for reason, examples in source.left_out.reasons.items()}
    assert counts == {
        IN_SYSTEM_FOLDERS: (3, ["__MACOSX", "a/@eaDir"]),
        IN_HIDDEN_FOLDERS: (1, [".cache"]),
        HIDDEN_FILES: (2, ["a/._one.jpg", "a/.hidden.jpg"]),
        SYSTEM_FILES_FOUND: (1, ["a/Thumbs.db"]),
    }


@pytest.mark.parametrize("compress", [False, True])
def test_tar_without_its_end_is_reported_and_read(compress: bool) -> None:
    whole = tarred({"a.jpg": b"1", "b.jpg": b"2"})[:2048]
    source = archive(gzip.compress(whole) if compress else whole)
    entries = {entry.key: read(entry) for entry in source.entries()}
    assert (entries.pop("a.jpg"), entries.pop("b.jpg")) == (b"1", b"2")
    reason = str(entries.pop("archive: rest of the archive"))
    assert "it has no end, so it may be truncated" in reason
    assert not entries


PARTS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1, max_size=8
)
PATHS = st.lists(PARTS.filter(lambda part: not part.startswith(".")), min_size=1, max_size=3).map("/".join)


@given(
    st.lists(PATHS, min_size=1, max_size=5), st.sampled_from([0, 0x800]), st.booleans(), st.sampled_from(["NFC", "NFD"])
)
@settings(max_examples=200, deadline=None)
def test_any_names_of_a_zip_are_read(names: list[str], flags: int, backslashes: bool, form: Form) -> None:
    """However a program writes the names, the keys are the paths with `/`, in one form."""
    files = {normalise("NFC", f"p{at}/{name}.jpg"): b"%d" % at for at, name in enumerate(names)}
    members = []
    for name, data in files.items():
        written = normalise(form, name).replace("/", "\\" if backslashes else "/")
        members.append(stored(written.encode(), data, flags))
    source = archive(flagged_zip(*members))
    system = source.left_out.reasons.get(IN_SYSTEM_FOLDERS)
    assert found(source) == files or system is not None
    assert UNKNOWN_ENCODING not in source.left_out.reasons
