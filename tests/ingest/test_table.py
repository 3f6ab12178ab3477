"""Tables of files: column types, limits, and unusable rows."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInputError
from app.ingest.sources.items import UnusableError
from app.ingest.sources.table import SUFFIXES, Table, TableLimits
from app.ingest.sources.table_source import TableSource

LIMITS = TableLimits(rows=1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def table_at(path: Path, limits: TableLimits = LIMITS) -> Table:
    return Table(path.name, SUFFIXES[path.suffix], lambda: path.open("rb"), limits)


def fields(path: Path, text: str) -> list[dict[str, Any]]:
    path.write_text(text)
    rows = list(table_at(path))
    assert [row.problem for row in rows] == [None] * len(rows)
    return [row.given.get("metadata", {}) for row in rows]


def test_column_of_numbers_is_numeric(path: Path) -> None:
    rows = fields(path, "file,price,count,zip,code,mixed\na,89.5,3,01234,1e5,3\nb,-1,40000,99999,2e5,three\nc,,,,,\n")
    assert rows == [
        {"price": 89.5, "count": 3, "zip": "01234", "code": "1e5", "mixed": "3"},
        {"price": -1, "count": 40000, "zip": "99999", "code": "2e5", "mixed": "three"},
        {},
    ]
    assert type(rows[0]["count"]) is int


def test_column_of_booleans_is_boolean_and_long_numbers_stay_text(path: Path) -> None:
    rows = fields(path, "file,new,maybe,serial\na,true,true,1234567890123456\nb,false,perhaps,7\n")
    assert rows[0] == {"new": True, "maybe": "true", "serial": "1234567890123456"}
    assert rows[1] == {"new": False, "maybe": "perhaps", "serial": "7"}


def test_keys_and_labels_are_always_text(path: Path) -> None:
    path.write_text("file,key,label\n1.jpg,17,3\n2.jpg,,\n")
    first, second = table_at(path)
    assert (first.file, first.key, first.given) == ("1.jpg", "17", {"label": "3"})
    assert (second.file, second.key, second.given) == ("2.jpg", "2.jpg", {})


def test_bom_quotes_and_line_breaks_of_spreadsheets_are_read(path: Path) -> None:
    path.write_bytes('\ufefffile,title\r\n"a, b.jpg","two\nlines, ""quoted"""\r\n'.encode())
    (row,) = table_at(path)
    assert (row.file, row.given) == ("a, b.jpg", {"metadata": {"title": 'two\nlines, "quoted"'}})


def test_row_with_too_many_values_is_rejected_alone(path: Path) -> None:
    path.write_text("file,a,b\nx.jpg,1\ny.jpg,2,3,4,5\nz.jpg,1,2,,\n")
    first, wrong, last = table_at(path)
    assert (first.given, last.given) == ({"metadata": {"a": 1}}, {"metadata": {"a": 1, "b": 2}})
    assert (wrong.line, wrong.key) == (3, "y.jpg")
    assert wrong.problem == "The row has 5 values for 3 columns. Quote values that contain commas."


def test_table_without_file_column_or_utf8_is_rejected(path: Path) -> None:
    for words in ("", "name,label\na,b\n"):
        path.write_text(words)
        with pytest.raises(InvalidInputError, match="no column 'file'"):
            list(table_at(path))
    path.write_bytes(b"file,label\na.jpg,caf\xe9\n")
    with pytest.raises(InvalidInputError, match=r"line 2: byte 0xe9 is not UTF-8. Save the table as UTF-8"):
        list(table_at(path))


def test_json_lines_keep_value_types(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    rows: list[object] = [
        {"file": "a.jpg", "key": "one", "price": 3, "tags": ["x"], "gone": None},
        {"file": 3},
        {"label": "no file"},
        [],
    ]
    path.write_text("\n\n".join(map(json.dumps, rows)) + '\n{"file": NaN}\nnothing\n')
    first, *bad = table_at(path)
    assert (first.key, first.given) == ("one", {"metadata": {"price": 3, "tags": ["x"]}})
    problems = [(row.line, row.problem) for row in bad]
    assert [line for line, _ in problems] == [3, 5, 7, 8, 9]
    words = ["'file' is not text", "no 'file'", "Not a JSON object", "Not valid JSON", "Not valid JSON"]
    assert all(word in str(problem) for word, (_, problem) in zip(words, problems, strict=True))


def test_an_object_metadata_in_json_lines_is_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    rows = [
        {"file": "1.png", "metadata": {"price": 3, "metadata": {"a": 1}}, "size": 4},
        {"file": "2.png", "metadata": {"price": 3}, "price": 4},
        {"file": "3.png", "metadata": "text"},
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second, third = table_at(path)
    assert first.given == {"metadata": {"price": 3, "metadata": {"a": 1}, "size": 4}}
    assert "price" in (second.problem or "")
    assert third.given == {"metadata": {"metadata": "text"}}


def test_files_are_relative_to_the_table(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "one.jpg").write_bytes(b"1")
    (tmp_path / "large.jpg").write_bytes(bytes(101))
    path = tmp_path / "table.csv"
    path.write_text("file,label\npictures/one.jpg,boots\ngone.jpg,hats\npictures,x\nlarge.jpg,y\nnul\0.jpg,z\n")
    source = TableSource(path, 100)
    there, *refused = list(source)
    assert source.count() == 5
    assert (there.key, there.given, there.read()) == ("pictures/one.jpg", {"label": "boots"}, b"1")
    reasons = ["does not exist", "Not a regular file", "larger than 100 bytes", "NUL"]
    for entry, reason in zip(refused, reasons, strict=True):
        with pytest.raises(UnusableError, match=reason):
            entry.read()
    assert "line 3: gone.jpg" in refused[0].name


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_table_with_too_many_rows_is_rejected(tmp_path: Path, suffix: str) -> None:
    path, row = tmp_path / f"table{suffix}", "a.jpg" if suffix == ".csv" else '{"file": "a.jpg"}'
    head = "file\n" if suffix == ".csv" else ""
    for blank in ("", "\n" * 2000):
        path.write_text(f"{head}{blank}" + f"{row}\n" * 10)
        assert len(list(table_at(path, TableLimits(rows=10)))) == 10, "blank lines do not count"
        with pytest.raises(InvalidInputError, match=r"table\S+: has more than 9 rows. Split it"):
            list(table_at(path, TableLimits(rows=9)))


def test_table_with_too_many_columns_is_rejected(path: Path) -> None:
    path.write_text("file," + ",".join(map(str, range(1000))) + "\n" + "a.jpg\n" * 10)
    with pytest.raises(InvalidInputError, match="more than 1,000 columns"):
        list(table_at(path))
    path.write_text("file," + ",".join(map(str, range(999))) + "\na.jpg,1\n")
    (row,) = table_at(path)
    assert row.given == {"metadata": {"0": 1}}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("table.csv", "file,text\na.jpg,b\n" + "c,d" * 40 + "\n"),
        ("table.csv", 'file,text\na.jpg,b\nc.jpg,"' + "short line\n" * 10),
        ("table.jsonl", '{"file": "a.jpg"}\n\n{"file": "' + "b" * 100),
    ],
    ids=["one line", "a quote that never ends", "JSON"],
)
def test_overlong_row_is_rejected_before_it_is_read(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInputError, match=r"line \d+: the row has more than 100 characters"):
        list(table_at(tmp_path / name, TableLimits(rows=10, characters=100)))


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, "1" + "0" * 5000 + ".5"])
def test_numbers_of_thousands_of_digits_are_text_or_rejected(tmp_path: Path, number: str) -> None:
    (tmp_path / "table.jsonl").write_text(f'{{"file": "a.jpg", "price": {number}}}\n{{"file": "b.jpg"}}\n')
    first, second = table_at(tmp_path / "table.jsonl")
    assert (first.problem or "").startswith("Not valid JSON") or first.given["metadata"]["price"] == float("inf")
    assert second.file == "b.jpg"
    (tmp_path / "table.csv").write_text(f"file,price\na.jpg,{number}\n")
    (row,) = table_at(tmp_path / "table.csv")
    assert row.given["metadata"]["price"] == number


@given(st.text(max_size=400), st.sampled_from([".csv", ".jsonl"]))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_rejected(text: str, suffix: str) -> None:
    data = ("file,key,n\n" + text).encode("utf-8", "surrogatepass")
    table = Table("t", SUFFIXES[suffix], lambda: io.BytesIO(data), TableLimits(5, 4, 60))
    try:
        rows = list(table)
    except InvalidInputError:
        return
    assert len(rows) <= 5
    assert all(row.problem or row.file for row in rows)
