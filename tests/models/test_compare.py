"""The comparison on pictures that differ by colour: what it writes, what it keeps, and what it refuses."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli.main import app
from models import compare_data
from models.baselines.kinds import KINDS
from models.checkpoint import load
from models.codes import hamming
from models.compare import Choices, compare
from models.compare_data import Side, encoded, read_files, relevant_pictures
from models.compare_measure import Comparison, sizes
from models.compare_unfinished import Unfinished, identity
from models.cost import measured
from models.errors import CheckpointError, DatasetError, ModelError, RecipeError
from models.metrics import tie_aware_average_precision
from tests.models.baselines.toy import toy
from tests.models.folders import coloured_folder
from tests.models.test_evaluate import network_of, splits_of

Heard = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return network_of(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return splits_of(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def compared(
    checkpoint_path: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, Heard]:
    out, heard = tmp_path_factory.mktemp("out") / "comparison", list[tuple[str, int, int]]()
    path = str(checkpoint_path)
    choices = Choices(bits=(12, 48), network=path, trained=(path,))
    return compare(folder, out, choices, lambda *step: heard.append(step)), out, heard


def test_every_method_is_measured_and_written(compared: tuple[dict[str, Any], Path, Heard]) -> None:
    found, out, heard = compared
    assert json.loads((out / "metrics.json").read_text()) == found
    assert list(found["methods"]) == [*KINDS, "network tiny"]
    names = {path.name for path in out.iterdir() if path.suffix != ".npz"}
    assert names == {"metrics.json", "report.html", "precision.svg", "map.svg", "recall.svg", "cost.svg"}
    assert list(found["methods"]["ours"]["bits"]) == ["12", "48"]
    assert list(found["methods"]["network tiny"]["bits"]) == ["16"]
    assert found["data"]["queries_from"] == "test"
    assert (found["data"]["database"], found["data"]["queries"], found["data"]["unreadable"]) == (27, 9, 1)
    for method in found["methods"].values():
        for scores in method["bits"].values():
            values = [scores["map"], *scores["precision"].values(), *scores["precision_by_recall"]]
            assert all(0 <= value <= 1 for value in values)
    assert ("tiny: encoding", 9, 9) in heard
    assert any(what == "ksh, 12 bits" for what, _, _ in heard)


def test_what_methods_cost_is_measured(compared: tuple[dict[str, Any], Path, Heard]) -> None:
    found, _, _ = compared
    for name in KINDS:
        for scores in found["methods"][name]["bits"].values():
            assert scores["seconds"] > 0
            assert scores["memory"] >= 0
    assert found["methods"]["network tiny"]["bits"]["16"]["seconds"] is None
    assert set(found["growth"]) == {name for name, kind in KINDS.items() if kind.learns != "no labels"}
    assert [time["pictures"] for time in found["growth"]["ours"]] == [27]


def test_a_method_that_cannot_says_so_and_the_others_go_on(compared: tuple[dict[str, Any], Path, Heard]) -> None:
    found, out, _ = compared
    refused = {name: list(method["refused"]) for name, method in found["methods"].items() if method["refused"]}
    assert refused == {"sh": ["48"], "itq": ["48"]}
    assert "there are 27" in found["methods"]["sh"]["refused"]["48"]
    page = (out / "report.html").read_text()
    assert "What could not be done" in page
    assert "SH, 48 bits" in page


def test_the_page_stands_alone_and_its_plots_have_names(compared: tuple[dict[str, Any], Path, Heard]) -> None:
    _, out, _ = compared
    page = (out / "report.html").read_text()
    assert "//" not in page
    assert page.count("<svg ") == page.count('role="img" aria-label=') == 4
    titles = ["48 bits", "By length of code", "What learning costs", "What could not be done", "How it was measured"]
    assert re.findall("<h2>(.*?)</h2>", page) == titles
    for kind in KINDS.values():
        assert f">{kind.title}</" in page


def test_map_is_that_of_the_methods_codes(
    compared: tuple[dict[str, Any], Path, Heard], checkpoint_path: Path, folder: Path
) -> None:
    found, out, _ = compared
    network, info = load(checkpoint_path)
    files = read_files(folder, 0)
    sides = [encoded(some, network, info.fingerprint, out, lambda *_: None) for some in (files.database, files.queries)]
    method = KINDS["lsh"].make(12, 0)
    method.fit(sides[0].features)
    database, queries = (method.codes(side.features) for side in sides)
    expected = []
    for query, label in zip(queries, sides[1].labels, strict=True):
        distances = hamming(query, database)
        order = np.argsort(distances, kind="stable")
        expected.append(tie_aware_average_precision((sides[0].labels == label)[order], distances[order]))
    assert found["methods"]["lsh"]["bits"]["12"]["map"] == pytest.approx(np.mean(expected))


def test_a_second_comparison_encodes_nothing(
    compared: tuple[dict[str, Any], Path, Heard], checkpoint_path: Path, folder: Path, tmp_path: Path
) -> None:
    found, kept, _ = compared
    heard: Heard = []
    choices = Choices(("lsh",), (12,), str(checkpoint_path), growth=False, keep=kept)
    again = compare(folder, tmp_path / "again", choices, lambda *step: heard.append(step))
    assert not [what for what, _, _ in heard if "encoding" in what]
    assert again["methods"]["lsh"]["bits"]["12"]["map"] == found["methods"]["lsh"]["bits"]["12"]["map"]
    assert again["plotted_bits"] == 12
    assert not (tmp_path / "again" / "cost.svg").exists()


def test_a_stopped_comparison_goes_on_where_it_was(checkpoint_path: Path, folder: Path, tmp_path: Path) -> None:
    choices = Choices(("lsh", "itq"), (8, 12), str(checkpoint_path), keep=tmp_path)

    def stopped(what: str, _done: int, _total: int) -> None:
        if what == "itq, 12 bits":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(folder, tmp_path / "out", choices, stopped)
    path = tmp_path / "out" / "unfinished.json"
    kept = json.loads(path.read_text())["measured"]
    assert list(kept) == ["lsh, 8 bits", "lsh, 12 bits", "itq, 8 bits"]
    found = compare(folder, tmp_path / "out", choices)
    assert found["methods"]["lsh"]["bits"]["12"] == kept["lsh, 12 bits"]
    assert list(found["methods"]["itq"]["bits"]) == ["8", "12"]
    assert not path.exists()


def test_what_was_measured_on_other_pictures_is_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "unfinished.json"
    first = Unfinished(path, 1)
    assert first.measure("lsh", lambda: {"map": 0.5}) == {"map": 0.5}
    assert Unfinished(path, 1).measure("lsh", lambda: {"map": 0.6}) == {"map": 0.5}
    assert Unfinished(path, 2).measure("lsh", lambda: {"map": 0.7}) == {"map": 0.7}
    path.write_bytes(path.read_bytes()[:20])
    assert Unfinished(path, 2).measured == {}


def test_pictures_labels_and_seeds_tell_comparisons_apart() -> None:
    sides = [
        Side(data.features, data.labels, np.empty((len(data.labels), 1), np.uint8), 0)
        for data in (toy(30), toy(10, seed=1))
    ]
    other = replace(sides[0], labels=1 - sides[0].labels)
    names = [
        identity(*sides, labelled=True, seed=0),
        identity(*sides, labelled=False, seed=0),
        identity(*sides, labelled=True, seed=1),
        identity(other, sides[1], labelled=True, seed=0),
        identity(*reversed(sides), labelled=True, seed=0),
    ]
    assert len(set(names)) == 5
    assert names[0] == identity(*sides, labelled=True, seed=0)


def test_changed_pictures_and_damaged_files_are_encoded_anew(checkpoint_path: Path, tmp_path: Path) -> None:
    pictures = coloured_folder(tmp_path / "pictures", per_class=4)
    network, info = load(checkpoint_path)
    keep, heard = tmp_path / "keep", list[int]()

    def encode() -> Side:
        files = read_files(pictures, 0).database
        return encoded(files, network, info.fingerprint, keep, lambda done, _: heard.append(done))

    first = encode()
    np.testing.assert_array_equal(encode().features, first.features)
    assert heard == [9]
    (path,) = keep.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    np.testing.assert_array_equal(encode().features, first.features)
    assert heard == [9, 9]
    changed = read_files(pictures, 0).database.paths[0]
    changed.write_bytes((pictures / "red" / "0.png").read_bytes() + b" ")
    encode()
    assert heard == [9, 9, 9]


def test_without_labels_the_nearest_pictures_are_relevant_and_supervised_methods_refuse(
    checkpoint_path: Path, tmp_path: Path
) -> None:
    coloured_folder(tmp_path / "classes", per_class=10)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (tmp_path / "classes").rglob("*.png"):
        path.rename(flat / f"{path.parent.name}{path.name}")
    found = compare(flat, tmp_path / "out", Choices(bits=(8,), network=str(checkpoint_path)))
    assert (found["data"]["database"], found["data"]["queries"], found["data"]["classes"]) == (27, 3, [])
    for name, kind in KINDS.items():
        method = found["methods"][name]
        if kind.learns == "no labels":
            assert method["bits"]["8"]["map"] > 0.1
        else:
            assert "learns from labels, and these pictures have none" in method["refused"]["8"]
    assert found["growth"] == {}


def test_nearest_pictures_are_those_of_brute_force() -> None:
    database, queries = (
        Side(data.features, data.labels, np.empty((len(data.labels), 1), np.uint8), 0)
        for data in (toy(300), toy(20, seed=1))
    )
    found = relevant_pictures(database, queries, labelled=False)
    for positions, query in zip(found, queries.features, strict=True):
        distances = np.square(database.features - query).sum(axis=1)
        assert set(positions.tolist()) == set(np.argsort(distances)[:30].tolist())
    assert compare_data.NEIGHBOURS > 30


def test_a_method_that_fails_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    data, others = toy(100), toy(20, seed=1)
    database, queries = (
        Side(side.features, side.labels, np.empty((len(side.labels), 1), np.uint8), 0) for side in (data, others)
    )

    def no_room(_bits: int, _seed: int) -> Any:
        raise MemoryError

    monkeypatch.setitem(KINDS, "lsh", replace(KINDS["lsh"], make=no_room))
    relevant, unfinished = relevant_pictures(database, queries, True), Unfinished(tmp_path / "unfinished.json", 0)
    comparison = Comparison(database, queries, relevant, unfinished, labelled=True, seed=0)
    assert comparison.method("lsh", (8,), lambda _: None)["refused"] == {"8": "There is not enough memory."}
    assert comparison.method("itq", (8,), lambda _: None)["bits"]


def test_sizes_go_up_to_all_pictures() -> None:
    assert sizes(27) == [27]
    assert sizes(3068) == [500, 1000, 2000, 3068]
    assert sizes(60_000)[-2:] == [32_000, 60_000]


def test_memory_is_what_was_in_use_meanwhile() -> None:
    with measured() as cost:
        np.ones(200_000_000, np.uint8)
    assert cost.memory is not None
    assert cost.memory == pytest.approx(200e6, rel=0.05)
    with measured() as little:
        pass
    assert little.memory is not None
    assert little.memory < 5e6


def test_what_cannot_be_compared_is_a_sentence_before_the_work(
    tmp_path: Path, checkpoint_path: Path, folder: Path
) -> None:
    with pytest.raises(RecipeError, match="There is no method lhs; there are lsh, sh, itq"):
        compare(folder, tmp_path / "out", Choices(methods=("lhs", "itq")))
    for bits in ((), (0,), (12, 2000)):
        with pytest.raises(RecipeError, match="codes of 1 to 1024 bits"):
            compare(folder, tmp_path / "out", Choices(bits=bits))
    with pytest.raises(CheckpointError, match="There is no checkpoint nowhere"):
        compare(folder, tmp_path / "out", Choices(network="nowhere"))
    with pytest.raises(CheckpointError, match="There is no checkpoint nowhere"):
        compare(folder, tmp_path / "out", Choices(network=str(checkpoint_path), trained=("nowhere",)))
    with pytest.raises(RecipeError, match="reads pictures of 32 pixels or more, not 8"):
        compare(folder, tmp_path / "out", Choices(network=str(checkpoint_path), size=8))
    with pytest.raises(DatasetError, match="is not a folder"):
        compare(tmp_path / "none", tmp_path / "out", Choices())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match="holds no pictures"):
        compare(empty, tmp_path / "out", Choices())
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="file cannot be written to"):
        compare(folder, tmp_path / "file", Choices())
    with pytest.raises(ModelError, match="file cannot be written to"):
        compare(folder, tmp_path / "out", Choices(network=str(checkpoint_path), keep=tmp_path / "file"))


def test_the_command_shows_the_table_and_where_the_report_is(
    tmp_path: Path, checkpoint_path: Path, folder: Path
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        out = ("--out", str(tmp_path / "out"), "--network", str(checkpoint_path), "--no-growth")
        answer = CliRunner().invoke(app, ["compare", str(folder), *out, *arguments])
        return answer.exit_code, answer.output

    code, said = run("--methods", "sh, Ours", "--bits", "12,48")
    assert code == 0, said
    assert "ours" in said
    assert "SH: SH finds 48 axes in more than 48 pictures; there are 27." in said
    assert "1 unreadable files were left out." in said
    assert (tmp_path / "out" / "report.html").is_file()
    code, said = run("--bits", "many")
    assert code == 1
    assert "--bits is a list of whole numbers like 12,24,48, not many." in said
    code, said = run("--methods", "sift")
    assert code == 1
    assert "There is no method sift" in said
