"""Tables as spreadsheets and other programs write them: encodings, delimiters, names and values."""

import csv
import io
import json
import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInputError
from app.ingest.sources.table import Row, Table, TableLimits
from app.ingest.sources.table_dialect import FILE, column_name
from app.ingest.sources.table_source import TableSource
from tests.ingest.entries import read

Form = Literal["NFC", "NFD"]
LIMITS = TableLimits(rows=1000)
WIDE = ["utf-16", "utf-16-le", "utf-16-be", "utf-32"]


def rows(data: bytes | str, kind: str = "csv") -> list[Row]:
    encoded = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return list(Table("table", kind, lambda: io.BytesIO(encoded), LIMITS))


def metadata(data: bytes | str) -> list[dict[str, Any]]:
    found = rows(data)
    assert [row.problem for row in found] == [None] * len(found)
    return [row.given.get("metadata", {}) for row in found]


def reason(data: bytes | str) -> str:
    with pytest.raises(InvalidInputError) as raised:
        rows(data)
    return raised.value.reason


def only(row: Row) -> tuple[str, str, str | None, dict[str, Any]]:
    """File, key, label and metadata of a usable row."""
    assert row.problem is None
    return row.file, row.key, row.given.get("label"), row.given.get("metadata", {})


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", *WIDE])
def test_delimiter_and_encoding_are_detected(delimiter: str, told: bool, encoding: str) -> None:
    lines = [["file", "key", "label", "größe"], ["été.jpg", "k-1", "Stiefel", "42"]]
    text = (f"sep={delimiter}\r\n" if told else "") + "\r\n".join(map(delimiter.join, lines)) + "\r\n"
    (row,) = rows(text.encode(encoding))
    assert only(row) == ("été.jpg", "k-1", "Stiefel", {"größe": 42})


@pytest.mark.parametrize("first", ["sep=:", '"sep=:"', "SEP=:", "sep=:,,,"])
def test_separator_line_names_any_delimiter(first: str) -> None:
    (row,) = rows(f"{first}\nfile:key\na, b.jpg:k\n")
    assert only(row) == ("a, b.jpg", "k", None, {})


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_decimal_commas_are_numbers_unless_cells_are_separated_by_commas(delimiter: str) -> None:
    lines = [
        ["file", "price", "mixed", "points", "many"],
        ["a", "89,5", "1,5", "1.5", "1.299,00"],
        ["b", "3", "2.5", "2.5", "7"],
    ]
    first, second = metadata("\n".join(map(delimiter.join, lines)))
    assert first == {"price": 89.5, "mixed": "1,5", "points": 1.5, "many": "1.299,00"}
    assert second == {"price": 3, "mixed": "2.5", "points": 2.5, "many": "7"}
    (quoted,) = metadata('file,price\na,"89,5"\n')
    assert quoted == {"price": "89,5"}


def test_booleans_of_spreadsheets_are_booleans() -> None:
    assert metadata("file,stock,new,said\na,TRUE,True,TRUE\nb,FALSE,false,perhaps\n") == [
        {"stock": True, "new": True, "said": "TRUE"},
        {"stock": False, "new": False, "said": "perhaps"},
    ]


def test_digits_of_other_scripts_are_text() -> None:
    assert metadata("file,n\na,1٣\nb,٣\n") == [{"n": "1٣"}, {"n": "٣"}]


def test_spaces_around_names_and_values_are_trimmed() -> None:
    (row,) = rows('\ufeff file , key,\u00a0label\u00a0, price, text\n a.jpg , "k, 1", boots , 5, two words \n')
    assert only(row) == ("a.jpg", "k, 1", "boots", {"price": 5, "text": "two words"})


def test_names_of_the_three_columns_are_read_in_any_case() -> None:
    (row,) = rows("File,KEY,Label,Price\na.jpg,k,boots,5\n")
    assert only(row) == ("a.jpg", "k", "boots", {"Price": 5})
    (row,) = rows('{"File": "a.jpg", "KEY": "k", " Label": "boots", "Price": 5}\n', "json")
    assert only(row) == ("a.jpg", "k", "boots", {"Price": 5})


@pytest.mark.parametrize("header", ["file,price,price", "file,price, price", "file,File", "file,caf\u00e9,cafe\u0301"])
def test_two_columns_of_one_name_are_rejected(header: str) -> None:
    assert "has two columns named" in reason(f"{header}\na,1,2\n")


def test_columns_that_differ_in_case_are_different() -> None:
    assert metadata("file,Price,price\na,1,2\n") == [{"Price": 1, "price": 2}]


@pytest.mark.parametrize(
    "line",
    [
        '{"file": "a.jpg", "price": 1, "price": 2}',
        '{"file": "a.jpg", "File": "b.jpg"}',
        '{"file": "a.jpg", "d": {"x": 1, "x": 2}}',
    ],
)
def test_two_fields_of_one_name_reject_their_row(line: str) -> None:
    wrong, right = rows(f'{line}\n{{"file": "b.jpg"}}\n', "json")
    assert "same name" in str(wrong.problem)
    assert only(right) == ("b.jpg", "b.jpg", None, {})


def test_empty_rows_are_left_out() -> None:
    found = rows('\n,,\nfile,key,label\n\na.jpg,k,boots\n , ,\n,,\n"","",""\n\n')
    assert [only(row) for row in found] == [("a.jpg", "k", "boots", {})]
    assert len(list(Table("t", "csv", lambda: io.BytesIO(b"file\na\n" + b'""\n' * 50), TableLimits(rows=1)))) == 1


def test_quotation_mark_that_is_not_closed_is_an_error() -> None:
    """Otherwise its cell would contain the rows that follow, which would be missing without a word."""
    assert reason('file,t\na.jpg,"x\nb.jpg,y\n').endswith("line 2: a quotation mark is not closed")
    assert reason('file,t\na.jpg,"1\n2"\nb.jpg,"').endswith("line 4: a quotation mark is not closed")
    assert metadata('file,t\na.jpg,5" wide\nb.jpg,"x"') == [{"t": '5" wide'}, {"t": "x"}]


def test_unnamed_columns_must_be_empty() -> None:
    assert metadata("file,price,,\na,1,,\n") == [{"price": 1}]
    wrong, right = rows(",file,price\n0,a.jpg,1\n,b.jpg,2\n")
    assert wrong.problem == "The row has a value in column 1, which has no name. Name the column, or remove it."
    assert only(right) == ("b.jpg", "b.jpg", None, {"price": 2})
    (wrong,) = rows("file,key,\na.jpg,k,more\n")
    assert wrong.problem == "The row has 3 values for 2 columns. Quote values that contain commas."


@pytest.mark.parametrize(("delimiter", "name"), [(",", "commas"), (";", "semicolons"), ("\t", "tabs")])
def test_unquoted_delimiters_reject_their_row(delimiter: str, name: str) -> None:
    lines = [["file", "key", "price"], ["a.jpg", "k1", "1", "299.00"], ["b.jpg", "k2", "5"]]
    wrong, right = rows("\n".join(map(delimiter.join, lines)))
    assert (wrong.line, wrong.key) == (2, "k1")
    assert wrong.problem == f"The row has 4 values for 3 columns. Quote values that contain {name}."
    assert only(right) == ("b.jpg", "k2", None, {"price": 5})


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("latin-1", "café"), ("cp1252", "café €"), ("cp1251", "сапоги"), ("shift-jis", "靴子"), ("gbk", "靴子")],
)
@pytest.mark.parametrize("lines", [1, 30_000])
def test_other_encodings_are_named_in_the_error(encoding: str, word: str, lines: int) -> None:
    table = "file,label\n" + "a.jpg,boots\n" * lines + f"b.jpg,{word}\n"
    with pytest.raises(InvalidInputError) as raised:
        list(Table("t", "csv", lambda: io.BytesIO(table.encode(encoding)), TableLimits(rows=100_000)))
    assert raised.value.reason.startswith(f"line {lines + 2}: byte 0x")
    assert raised.value.reason.endswith(" is not UTF-8. Save the table as UTF-8 (Excel: CSV UTF-8)")


def test_table_cut_within_a_character_is_rejected() -> None:
    assert "ends within a character" in reason("file\né.jpg".encode()[:-5])
    assert "ends within a character" in reason("file\na.jpg".encode("utf-16")[:-1])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_lone_surrogate_in_a_file_name_rejects_its_row(encoding: str) -> None:
    data = "file,key\na.jpg,1\n\ud83d.jpg,2\nb.jpg,3\n".encode(encoding, "surrogatepass")
    first, wrong, last = rows(data)
    assert "half a character" in str(wrong.problem)
    assert (first.key, wrong.key, last.key) == ("1", "2", "3")


def test_thousands_of_digits_are_counted_in_the_message() -> None:
    wrong, right = rows('{"file": "a.jpg", "n": ' + "9" * 5000 + '}\n{"file": "b.jpg"}\n', "json")
    assert wrong.problem == "Not valid JSON: a number has 5,000 digits."
    assert right.file == "b.jpg"


def contents(source: TableSource) -> dict[str, bytes | str]:
    return {entry.key: read(entry) for entry in source}


@pytest.mark.parametrize("suffix", [".csv", ".CSV", ".tsv"])
def test_tables_of_any_dialect_are_read_by_the_reader_process(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    path = tmp_path / f"table{suffix}"
    for encoding in ["utf-8-sig", *WIDE]:
        path.write_bytes('sep=\t\r\nFile\t"key"\r\na.jpg\tone\r\n\t\r\nb.jpg\ttwo\textra\r\n'.encode(encoding))
        source = TableSource(path, 100)
        assert source.count() == 2
        assert contents(source)["one"] == b"a"
        assert "3 values for 2 columns" in str(contents(source)["two"])
    path.write_bytes(b"file\tlabel\na.jpg\tcaf\xe9\n")
    with pytest.raises(InvalidInputError, match="byte 0xe9 is not UTF-8"):
        TableSource(path, 100).count()


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_files_are_found_in_either_normalisation_form(tmp_path: Path, form: Form) -> None:
    other: Form = "NFD" if form == "NFC" else "NFC"
    folder = tmp_path / unicodedata.normalize(form, "Größe")
    folder.mkdir()
    (folder / unicodedata.normalize(form, "é.jpg")).write_bytes(b"1")
    (folder / "b.jpg").write_bytes(b"2")
    path = tmp_path / "table.csv"
    names = ["Größe/é.jpg", "Größe\\b.jpg", "Größe/ö.jpg"]
    path.write_text(
        "file,key\n" + "".join(f"{unicodedata.normalize(other, name)},{at}\n" for at, name in enumerate(names))
    )
    assert contents(TableSource(path, 100)) == {"0": b"1", "1": b"2", "2": "The file does not exist."}


def test_overlong_file_names_are_rejected_alone(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"file,key\n{'é' * 5000}.jpg,1\ngone.jpg,2\nthere.jpg,3\n")
    (tmp_path / "there.jpg").write_bytes(b"3")
    assert list(contents(TableSource(path, 100))) == ["1", "2", "3"]


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=12)
NAMES = WORDS.map(str.strip).filter(lambda word: word and not word.casefold().startswith(("sep=", "\ufeff")))
CELLS = st.one_of(NAMES, st.just(""), st.integers(-999, 999).map(str), st.sampled_from(["TRUE", "true", "89.5", "007"]))


def no_file(columns: list[str]) -> bool:
    return FILE not in map(column_name, columns)


@given(st.data(), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["utf-8", "utf-8-sig", *WIDE]))
@settings(max_examples=150, deadline=None)
def test_every_dialect_of_a_table_has_the_same_rows(data: st.DataObject, delimiter: str, encoding: str) -> None:
    """Written as any program might write it, a table has the rows of the plain table with quoted cells."""
    columns = ["file", *data.draw(st.lists(NAMES, max_size=3, unique_by=column_name).filter(no_file))]
    wanted = [[data.draw(NAMES), *(data.draw(CELLS) for _ in columns[1:])] for _ in range(data.draw(st.integers(0, 4)))]
    quoting: Literal[0, 1] = csv.QUOTE_ALL if data.draw(st.booleans()) else csv.QUOTE_MINIMAL
    written = io.StringIO()
    writer = csv.writer(
        written, delimiter=delimiter, quoting=quoting, lineterminator=data.draw(st.sampled_from(["\n", "\r\n"]))
    )
    # The delimiter of a single column cannot be detected.
    if columns == ["file"] or data.draw(st.booleans()):
        written.write(f"sep={delimiter}\n")
    writer.writerow([data.draw(st.sampled_from(["file", "File", "FILE", "file "])), *columns[1:]])
    for cells in wanted:
        if data.draw(st.booleans()):
            writer.writerow([""] * len(columns))
        writer.writerow([*cells, *[""] * data.draw(st.integers(0, 2))])
    plain = io.StringIO()
    csv.writer(plain, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([columns, *wanted])
    expected = [(row.file, row.given) for row in rows(plain.getvalue())]
    found = rows(written.getvalue().encode(encoding))
    assert [(row.file, row.given) for row in found] == expected


@given(st.text(max_size=300), st.sampled_from(["utf-8", *WIDE, "latin-1"]), st.sampled_from(["csv", "json"]))
@settings(max_examples=300, deadline=None)
def test_any_text_in_any_encoding_is_read_or_rejected(text: str, encoding: str, kind: str) -> None:
    data = ("file,key\n" + text).encode(encoding, "replace")
    table = Table("t", kind, lambda: io.BytesIO(data), TableLimits(rows=5, columns=4, characters=60))
    try:
        found = list(table)
    except InvalidInputError:
        return
    assert all(row.problem or row.file for row in found)
    json.dumps([row.given for row in found])
