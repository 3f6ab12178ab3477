"""Comparison on colour classes: output files, caching, errors."""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from app.cli.main import app
from models.checkpoint.files import load
from models.checkpoint.info import CheckpointInfo
from models.comparison.baselines.registry import METHODS
from models.comparison.compare import ComparisonConfig, compare
from models.comparison.data import encoded, read_files
from models.comparison.page import page
from models.comparison.plots import draw
from models.errors import CheckpointError, ConfigError, DatasetError, ModelError
from models.evaluation.metrics import tie_aware_average_precision
from models.network.codes import hamming
from models.network.latent_hash_net import LatentHashNet
from tests.html_pages import HOSTILE, assert_hostile_text_is_shown
from tests.models.folders import coloured_folder

pytestmark = pytest.mark.slow

Steps = list[tuple[str, int, int]]


@pytest.fixture(scope="module")
def compared(
    checkpoint_path: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, Steps]:
    out, steps = tmp_path_factory.mktemp("out") / "comparison", list[tuple[str, int, int]]()
    path = str(checkpoint_path)
    choices = ComparisonConfig(bits=(12, 48), network=path, trained=(path,))
    return compare(folder, out, choices, lambda *step: steps.append(step)), out, steps


def test_compare_measures_every_method_and_writes_all_files(compared: tuple[dict[str, Any], Path, Steps]) -> None:
    found, out, steps = compared
    assert json.loads((out / "metrics.json").read_text()) == found
    assert list(found["methods"]) == [*METHODS, "network tiny"]
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
    assert ("tiny: encoding", 9, 9) in steps
    assert any(what == "ksh, 12 bits" for what, _, _ in steps)


def test_compare_measures_time_and_memory(compared: tuple[dict[str, Any], Path, Steps]) -> None:
    found, _, _ = compared
    for name in METHODS:
        for scores in found["methods"][name]["bits"].values():
            assert scores["seconds"] > 0
            assert scores["memory"] >= 0
    assert found["methods"]["network tiny"]["bits"]["16"]["seconds"] is None
    assert set(found["growth"]) == {name for name, kind in METHODS.items() if kind.learns != "no labels"}
    assert [time["pictures"] for time in found["growth"]["ours"]] == [27]


def test_unsupported_code_lengths_are_reported(
    compared: tuple[dict[str, Any], Path, Steps],
) -> None:
    found, out, _ = compared
    refused = {name: list(method["refused"]) for name, method in found["methods"].items() if method["refused"]}
    assert refused == {"sh": ["48"], "itq": ["48"]}
    assert "not 27" in found["methods"]["sh"]["refused"]["48"]
    text = (out / "report.html").read_text()
    assert "Not possible" in text
    assert "SH, 48 bits" in text


def test_comparison_page_is_self_contained_and_accessible(compared: tuple[dict[str, Any], Path, Steps]) -> None:
    _, out, _ = compared
    text = (out / "report.html").read_text()
    assert "//" not in text
    assert text.count("<svg ") == text.count('role="img" aria-label=') == 4
    titles = ["48 bits", "By length of code", "Cost of learning", "Not possible", "How it was measured"]
    assert re.findall("<h2>(.*?)</h2>", text) == titles
    for kind in METHODS.values():
        assert f">{kind.title}</" in text


def test_comparison_page_shows_hostile_names_as_text(compared: tuple[dict[str, Any], Path, Steps]) -> None:
    found = deepcopy(compared[0])
    drawn = draw(found)
    found["data"]["folder"] = HOSTILE
    found["network"] |= {"name": HOSTILE, "backbone": HOSTILE}
    ours = found["methods"]["ours"]
    ours |= {"title": HOSTILE, "learns": HOSTILE, "refused": {"99": HOSTILE}}
    ours["bits"]["48"]["map"] = 2.0  # the best
    # Title and summary; the network; the method's tile, rows of three tables, what it learns from, and the reason.
    assert_hostile_text_is_shown(page(found, drawn), 2 + 2 + 1 + 3 + 1 + 2)


def test_plot_files_have_a_white_background(compared: tuple[dict[str, Any], Path, Steps]) -> None:
    _, out, _ = compared
    for plot in out.glob("*.svg"):
        assert plot.read_text().count('<rect width="100%" height="100%" fill="#ffffff"') == 1, plot.name


def test_map_matches_brute_force_on_the_codes(
    compared: tuple[dict[str, Any], Path, Steps], checkpoint_path: Path, folder: Path
) -> None:
    found, out, _ = compared
    network, info = load(checkpoint_path)
    files = read_files(folder, 0)
    sides = [encoded(some, network, info.fingerprint, out, lambda *_: None) for some in (files.database, files.queries)]
    method = METHODS["lsh"].make(12, 0)
    method.fit(sides[0].features)
    database, queries = (method.codes(side.features) for side in sides)
    expected = []
    for query, label in zip(queries, sides[1].labels, strict=True):
        distances = hamming(query, database)
        order = np.argsort(distances, kind="stable")
        expected.append(tie_aware_average_precision((sides[0].labels == label)[order], distances[order]))
    assert found["methods"]["lsh"]["bits"]["12"]["map"] == pytest.approx(np.mean(expected))


def test_second_comparison_uses_cached_encodings(
    compared: tuple[dict[str, Any], Path, Steps], checkpoint_path: Path, folder: Path, tmp_path: Path
) -> None:
    found, kept, _ = compared
    steps: Steps = []
    choices = ComparisonConfig(("lsh",), (12,), str(checkpoint_path), growth=False, keep=kept)
    again = compare(folder, tmp_path / "again", choices, lambda *step: steps.append(step))
    assert not [what for what, _, _ in steps if "encoding" in what]
    assert again["methods"]["lsh"]["bits"]["12"]["map"] == found["methods"]["lsh"]["bits"]["12"]["map"]
    assert again["plotted_bits"] == 12
    assert not (tmp_path / "again" / "cost.svg").exists()


def test_compare_loads_every_network_once(
    compared: tuple[dict[str, Any], Path, Steps],
    checkpoint_path: Path,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, loaded = str(checkpoint_path), list[str | Path]()

    def counting(checkpoint: str | Path) -> tuple[LatentHashNet, CheckpointInfo]:
        loaded.append(checkpoint)
        return load(checkpoint)

    monkeypatch.setattr("models.comparison.compare.load", counting)
    choices = ComparisonConfig(("lsh",), (12,), path, size=40, trained=(path,), growth=False, keep=compared[1])
    found = compare(folder, tmp_path / "out", choices)
    assert loaded == [path, path]
    assert found["network"]["size"] == 40
    own = compared[0]["methods"]["network tiny"]
    assert found["methods"]["network tiny"]["bits"] == own["bits"], "it reads images of its own size"


def test_unlabelled_comparison_uses_nearest_images_and_refuses_supervised_methods(
    checkpoint_path: Path, tmp_path: Path
) -> None:
    coloured_folder(tmp_path / "classes", per_class=10)
    flat = tmp_path / "flat"
    flat.mkdir()
    for path in (tmp_path / "classes").rglob("*.png"):
        path.rename(flat / f"{path.parent.name}{path.name}")
    found = compare(flat, tmp_path / "out", ComparisonConfig(bits=(8,), network=str(checkpoint_path)))
    assert (found["data"]["database"], found["data"]["queries"], found["data"]["classes"]) == (27, 3, [])
    for name, kind in METHODS.items():
        method = found["methods"][name]
        if kind.learns == "no labels":
            assert method["bits"]["8"]["map"] > 0.1
        else:
            assert "needs labels, but these images have none" in method["refused"]["8"]
    assert found["growth"] == {}


def test_compare_validates_its_arguments_before_encoding(tmp_path: Path, checkpoint_path: Path, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"Unknown method lhs\. Choose from lsh, sh, itq"):
        compare(folder, tmp_path / "out", ComparisonConfig(methods=("lhs", "itq")))
    for bits in ((), (0,), (12, 2000)):
        with pytest.raises(ConfigError, match="codes of 1 to 1024 bits"):
            compare(folder, tmp_path / "out", ComparisonConfig(bits=bits))
    with pytest.raises(CheckpointError, match="There is no checkpoint nowhere"):
        compare(folder, tmp_path / "out", ComparisonConfig(network="nowhere"))
    with pytest.raises(CheckpointError, match="There is no checkpoint nowhere"):
        compare(folder, tmp_path / "out", ComparisonConfig(network=str(checkpoint_path), trained=("nowhere",)))
    with pytest.raises(ConfigError, match="Image size 8: efficientnet_lite0 needs 32 pixels or more"):
        compare(folder, tmp_path / "out", ComparisonConfig(network=str(checkpoint_path), size=8))
    with pytest.raises(DatasetError, match="is not a folder"):
        compare(tmp_path / "none", tmp_path / "out", ComparisonConfig())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DatasetError, match="contains no images"):
        compare(empty, tmp_path / "out", ComparisonConfig())
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="file is not writable"):
        compare(folder, tmp_path / "file", ComparisonConfig())
    steps, choices = (
        list[tuple[str, int, int]](),
        ComparisonConfig(network=str(checkpoint_path), keep=tmp_path / "file"),
    )
    with pytest.raises(ModelError, match="file is not writable"):
        compare(folder, tmp_path / "out", choices, lambda *step: steps.append(step))
    assert steps == []


def test_compare_command_prints_the_table_and_the_report_path(
    tmp_path: Path, checkpoint_path: Path, folder: Path
) -> None:
    def run(*arguments: str) -> tuple[int, str]:
        out = ("--out", str(tmp_path / "out"), "--model", str(checkpoint_path), "--no-scaling")
        answer = CliRunner().invoke(app, ["compare", str(folder), *out, *arguments])
        return answer.exit_code, answer.output

    code, output = run("--methods", "sh, Ours", "--bits", "12,48")
    assert code == 0, output
    assert "ours" in output
    assert "SH: SH needs more than 48 images for 48 bits, not 27." in output
    assert "1 unreadable files were skipped." in output
    assert (tmp_path / "out" / "report.html").is_file()
    code, output = run("--methods", "lsh", "--bits", "12", "--checkpoint", str(checkpoint_path))
    assert code == 0, output
    assert re.search("mAP.*12 bits.*16 bits", output), "the network's own codes have another length"
    code, output = run("--bits", "many")
    assert code == 1
    assert "--bits: many is not a list of whole numbers" in output
    code, output = run("--methods", "sift")
    assert code == 1
    assert "Unknown method sift" in output
