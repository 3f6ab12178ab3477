"""Files of a table are found in its own folder, or else in the folders given beside it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import InvalidInputError
from app.ingest.sources.archives.members import ArchiveLimits
from app.ingest.sources.items import Entry, Source, UnusableError
from app.ingest.sources.open import open_sources
from app.ingest.sources.table_source import TableSource

LIMITS = ArchiveLimits(1000)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files with their own names as contents, and returns the folder."""

    def write(folder: str, *names: str) -> Path:
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{folder}/{name}")
        return tmp_path / folder

    return write


def table_of(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "t.csv").write_text("\n".join(["file,key,price", *rows, ""]))
    return folder / "t.csv"


def content_of(entry: Entry) -> str:
    try:
        return entry.read().decode()
    except UnusableError as error:
        return f"! {error}"


def contents(*sources: Source) -> list[tuple[str, str]]:
    return [(entry.key, content_of(entry)) for source in sources for entry in source]


def test_own_folder_is_tried_before_the_folders_beside_the_table(tmp_path: Path, write: Write) -> None:
    first, second = write("first", "a.png", "b.png"), write("second", "b.png", "c.png")
    write("own", "a.png")
    table = table_of(tmp_path / "own", "a.png,A,1", "b.png,B,2", "c.png,C,3", "d.png,D,4")
    assert contents(TableSource(table, 1000, [first, second])) == [
        ("A", "own/a.png"),
        ("B", "first/b.png"),
        ("C", "second/c.png"),
        ("D", "! The file does not exist."),
    ]


def test_wrong_guess_is_one_entry_with_the_paths_tried(tmp_path: Path, write: Write) -> None:
    table = table_of(tmp_path / "own", *(f"images/{at}.png,K{at},1" for at in range(1572)), ",no-file,2")
    other = write("other", "unrelated.png")
    (key, reason), (bad_key, bad_reason) = contents(TableSource(table, 1000, [other]))
    assert key == str(table)
    assert "The files of all its 1,572 rows do not exist." in reason
    assert f"Tried {tmp_path}/own/images/0.png and {tmp_path}/other/images/0.png." in reason
    assert (bad_key, "The row has no 'file'" in bad_reason) == ("no-file", True)


def test_one_file_that_exists_makes_missing_ones_rejections_of_their_own(tmp_path: Path, write: Write) -> None:
    write("own", "3.png")
    found = contents(TableSource(table_of(tmp_path / "own", *(f"{at}.png,K{at},1" for at in range(5))), 1000))
    assert [content for _, content in found].count("! The file does not exist.") == 4
    assert ("K3", "own/3.png") in found


def test_file_that_a_table_names_is_added_once(tmp_path: Path, write: Write) -> None:
    folder = write("images", "boots/1.png", "boots/2.png", "hats/3.png")
    table = table_of(tmp_path / "own", "boots/1.png,sku-1,5", "hats/3.png,,6")
    expected = [("sku-1", "images/boots/1.png"), ("hats/3.png", "images/hats/3.png")]
    rest = [("boots/2.png", "images/boots/2.png")]
    assert contents(*open_sources([table, folder], LIMITS)) == expected + rest
    assert contents(*open_sources([folder, table], LIMITS)) == rest + expected
    assert sum(source.count() for source in open_sources([folder, table], LIMITS)) == 3


def test_table_in_the_folder_and_links_to_it_name_the_same_files(tmp_path: Path, write: Write) -> None:
    folder = write("images", "1.png", "2.png")
    (tmp_path / "link").symlink_to(folder)
    table = table_of(folder, "../images/./1.png,sku-1,5")
    assert contents(*open_sources([tmp_path / "link", table], LIMITS)) == [
        ("2.png", "images/2.png"),
        ("sku-1", "images/1.png"),
    ]


def test_folders_without_a_table_keep_all_files(write: Write) -> None:
    folder = write("images", "1.png", "2.png")
    assert [key for key, _ in contents(*open_sources([folder], LIMITS))] == ["1.png", "2.png"]


def test_default_key_is_that_of_the_folder_whatever_separates_the_path(tmp_path: Path, write: Write) -> None:
    folder = write("images", "hats/1.png")
    table = table_of(folder, "hats\\1.png,,3")
    (entry,) = TableSource(table, 1000)
    assert (entry.key, entry.read()) == ("hats/1.png", b"images/hats/1.png")
    assert [key for key, _ in contents(*open_sources([folder], LIMITS))] == [entry.key]


def test_keys_of_a_table_need_no_files(tmp_path: Path) -> None:
    table = table_of(tmp_path, "a.png,A,1", ",B,2", "c.png,,3")
    assert list(TableSource(table, 0).keys()) == ["A", "c.png"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.csv", "sku;Key\nx;A\ny;\nz;B\n"), ("t.jsonl", '{"key": "A"}\n{"sku": "x"}\n{"key": "B", "file": null}\n')],
)
def test_in_a_table_without_files_keys_are_the_paths(tmp_path: Path, write: Write, name: str, text: str) -> None:
    folder = write("pictures", "A")
    (tmp_path / name).write_text(text)
    source = TableSource(tmp_path / name, 1000, [folder])
    assert list(source.keys()) == ["A", "B"]
    read = contents(source)
    assert ("A", "pictures/A") in read
    assert ("B", "! The file does not exist.") in read
    assert any("The row has no 'file'" in reason for _, reason in read)


def test_damaged_table_has_no_keys(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("name\nx\n")
    with pytest.raises(InvalidInputError, match="no column 'file'"):
        list(TableSource(tmp_path / "t.csv", 0).keys())


NAMES = st.sampled_from(["a.png", "b.png", "x/c.png", "é.png", "a" * 300 + ".png", "nul\0.png"])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(NAMES, max_size=4, unique=True), st.sets(NAMES), st.sets(NAMES))
def test_every_row_is_its_first_file_or_missing(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], own: set[str], beside: set[str]
) -> None:
    root = tmp_path_factory.mktemp("table")
    for folder, names in (("own", own), ("beside", beside)):
        for name in names:
            if "\0" not in name and len(name) < 255:
                (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
                (root / folder / name).write_text(folder)
    table = table_of(root / "own", *(f"{name},{at},1" for at, name in enumerate(rows)))
    possible = [name for name in rows if "\0" not in name and len(name) < 255]
    expected = [("own" if name in own else "beside") for name in possible if name in own | beside]
    found = contents(TableSource(table, 1000, [root / "beside"]))
    assert [content for _, content in found if not content.startswith("!")] == expected
    assert len(found) == (len(rows) if expected or not rows else 1)
