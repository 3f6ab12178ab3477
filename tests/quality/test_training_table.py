"""Labelled images from a table: columns of labels and products, contradictions, and what is left out."""

from pathlib import Path

import pytest

from app.errors import InvalidInputError
from app.quality.training_table import is_table, read_training_table
from models.data.dataset import LabelledFiles
from tests.images import encoded, gradient

PICTURES = ("a", "b", "c", "d", "e", "f")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for name in PICTURES:
        (tmp_path / "pictures" / f"{name}.png").write_bytes(encoded(gradient()))
    return tmp_path


def table(folder: Path, *lines: str, header: str = "file,category,colour,size,sku") -> Path:
    path = folder / "products.csv"
    path.write_text("\n".join((header, *(f"pictures/{line}" for line in lines))) + "\n")
    return path


ROWS = (
    "a.png,Shoes,red,40,s1",
    "b.png,Shoes,,41,s1",
    "c.png,Bags,red,42,s2",
    "d.png,Bags,blue,43,",
    "e.png,,red,44,s3",
)


def value_of(files: LabelledFiles, column: int) -> dict[str, str | None]:
    assert files.columns is not None
    names = files.columns.classes[column]
    numbers = files.columns.targets[:, column]
    return {path.stem: names[at] if at >= 0 else None for path, at in zip(files.paths, numbers, strict=True)}


def test_several_columns_with_missing_values(folder: Path) -> None:
    files = read_training_table(table(folder, *ROWS), ["category", "colour"], None)
    assert files.classes == ("Bags", "Shoes")
    assert {path.stem: files.classes[at] for path, at in zip(files.paths, files.labels, strict=True)} == {
        "a": "Shoes",
        "b": "Shoes",
        "c": "Bags",
        "d": "Bags",
    }
    assert value_of(files, 1) == {"a": "red", "b": None, "c": "red", "d": "blue"}
    assert files.columns is not None
    assert files.columns.outputs == ("Bags", "Shoes", "colour: blue", "colour: red")
    assert files.columns.sizes == (2, 2)
    assert any("1 images without a value in category" in note for note in files.notes)
    assert all(path.exists() for path in files.paths)


def test_one_column_is_a_plain_label(folder: Path) -> None:
    files = read_training_table(table(folder, *ROWS), ["colour"], None)
    assert files.columns is None
    assert files.products is None
    assert files.classes == ("blue", "red")


def test_products_are_equal_for_equal_values_and_images_without_one_are_alone(folder: Path) -> None:
    files = read_training_table(table(folder, *ROWS), ["category"], "sku")
    assert files.products is not None
    product = {path.stem: int(at) for path, at in zip(files.paths, files.products, strict=True)}
    assert product["a"] == product["b"]
    assert len({product[name] for name in "acd"}) == 3


def test_numbers_and_key_and_label_can_be_labels(folder: Path) -> None:
    path = table(folder, "a.png,7,x,1", "b.png,8,y,1", "c.png,7,z,2", header="file,year,key,label")
    assert read_training_table(path, ["year"], "label").classes == ("7", "8")
    assert read_training_table(path, ["label"], "key").classes == ("1", "2")


def test_json_lines_are_read(folder: Path) -> None:
    path = folder / "products.jsonl"
    path.write_text('{"file": "pictures/a.png", "kind": "x"}\n{"file": "pictures/b.png", "metadata": {"kind": "y"}}\n')
    assert is_table(path)
    assert read_training_table(path, ["kind"], None).classes == ("x", "y")


def test_image_with_two_values_is_named_and_left_out(folder: Path) -> None:
    path = table(folder, *ROWS, "a.png,Bags,red,40,s1", "b.png,Shoes,,41,s1")
    files = read_training_table(path, ["category", "colour"], None)
    assert sorted(file.stem for file in files.paths) == ["b", "c", "d"]
    assert any("a.png has two values of category: Shoes (line 2) and Bags (line 7)" in note for note in files.notes)


def test_missing_files_and_bad_rows_are_named_and_left_out(folder: Path) -> None:
    path = table(folder, *ROWS, "gone.png,Shoes,red,1,s9", "f.png,Shoes,red,1,s9,too,many")
    files = read_training_table(path, ["category"], None)
    assert any("pictures/gone.png (line 7)" in note for note in files.notes)
    assert any("line 8: The row has 7 values for 5 columns" in note for note in files.notes)
    assert len(files) == 4


@pytest.mark.parametrize(
    ("labels", "products", "expected"),
    [
        (["categroy"], None, "has no column categroy.* Did you mean category?"),
        (["category", "Color"], None, "Did you mean colour?"),
        (["category"], "xyzzy", "has no column xyzzy.* It has category, colour"),
        (["category"], "skus", "Did you mean sku?"),
    ],
)
def test_column_that_does_not_exist_names_the_nearest(
    folder: Path, labels: list[str], products: str | None, expected: str
) -> None:
    with pytest.raises(InvalidInputError, match=expected):
        read_training_table(table(folder, *ROWS), labels, products)


def test_unusable_tables_are_errors(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match="all values of colour are red"):
        read_training_table(table(folder, ROWS[0], ROWS[2]), ["colour"], None)
    with pytest.raises(InvalidInputError, match="none of its images has a value in the column category"):
        read_training_table(
            table(folder, ROWS[1], ROWS[0].replace("a.png", "b.png").replace("Shoes", "Bags")), ["category"], None
        )
    with pytest.raises(InvalidInputError, match=r"none of its 2 files exists in .*, as pictures/x\.png \(line 2\)"):
        read_training_table(table(folder, "x.png,a,,,", "y.png,b,,,"), ["category"], None)
    with pytest.raises(InvalidInputError, match="has no rows"):
        read_training_table(table(folder), ["category"], None)
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read_training_table(folder / "missing.csv", ["category"], None)
