import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from app.cli.main import app
from models.checkpoint.files import load
from models.checkpoint.info import read_info
from models.data.dataset import LabelledFiles, open_rgb, read_splits
from models.errors import CheckpointError, DatasetError, ModelError, WeightsUnavailableError
from models.evaluation.encode_files import Encoded, encode_files
from models.evaluation.evaluate import (
    classification,
    evaluate,
    imagenet_network,
    measure_unseen,
    split_queries,
    unseen_labels,
)
from models.evaluation.search import retrieval
from models.network.backbones import BACKBONES
from models.network.codes import Codes, Floats, hamming
from models.network.encode import encode
from models.network.latent_hash_net import LatentHashNet
from tests.models.folders import coloured_folder

CLASSES = ("blue", "green", "red")
POOL = 10


@pytest.fixture(scope="module")
def evaluated(
    checkpoint_path: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path, list[tuple[str, int, int]]]:
    out = tmp_path_factory.mktemp("out") / "report"
    steps: list[tuple[str, int, int]] = []
    found = evaluate(checkpoint_path, folder, out, pool=POOL, progress=lambda *step: steps.append(step))
    return found, out, steps


def test_evaluate_writes_its_result_to_metrics_json(evaluated: tuple[dict[str, Any], Path, Any]) -> None:
    found, out, steps = evaluated
    assert json.loads((out / "metrics.json").read_text()) == found
    assert set(found["modes"]) == {"es", "hds", "bcs", "imagenet"}
    for scores in found["modes"].values():
        assert {"precision", "map_1000", "map", "map_tie_aware", "precision_radius_2"} <= set(scores)
    assert found["modes"]["es"]["map_tie_aware"] == pytest.approx(found["modes"]["es"]["map"], abs=0.01)
    assert found["modes"]["hds"]["precision_radius_2"] == found["modes"]["bcs"]["precision_radius_2"]
    assert found["modes"]["es"]["precision_radius_2"] is None
    assert list(found["modes"]["es"]["precision"]) == ["1", "5", "10", "20"]
    assert found["data"]["unreadable"] == ["train/blue/broken.jpg"]
    assert (found["data"]["database"], found["data"]["queries"], found["data"]["queries_from"]) == (27, 9, "test")
    assert steps[-1] == ("searching", 9, 9)
    assert {what for what, _, _ in steps} == {"encoding the database", "encoding queries", "searching"}
    for mode in found["modes"].values():
        values = [*mode["precision"].values(), mode["map"], mode["map_1000"], *mode["precision_by_recall"]]
        assert all(0 <= value <= 1 for value in values)
        assert len(mode["precision_by_recall"]) == 21


def test_every_mode_matches_brute_force(
    evaluated: tuple[dict[str, Any], Path, Any], checkpoint_path: Path, folder: Path
) -> None:
    found, _, _ = evaluated
    network, info = load(checkpoint_path)
    plain = LatentHashNet(info.backbone, 16, 0, info.preprocess)
    plain.load_imagenet()
    asking, in_order = (read(folder / split) for split in ("test", "train"))
    mixed = np.random.default_rng(0).permutation(len(in_order[1]))
    searched = in_order[0][mixed], in_order[1][mixed]
    by_network = {name: [encode(net, side[0]) for side in (asking, searched)] for name, net in both(network, plain)}
    expected: dict[str, list[list[bool]]] = {"es": [], "hds": [], "bcs": [], "imagenet": []}
    for row, label in enumerate(asking[1]):
        (codes, features), (base, vectors) = by_network["tiny"]
        near = hamming(codes[row], base)
        coarse = sorted(range(len(base)), key=lambda i: (near[i], i))
        orders = {
            "bcs": coarse,
            "es": by_distance(features[row], vectors, range(len(base))),
            "hds": by_distance(features[row], vectors, coarse[:POOL]) + coarse[POOL:],
            "imagenet": by_distance(by_network["plain"][0][1][row], by_network["plain"][1][1], range(len(base))),
        }
        for mode, order in orders.items():
            expected[mode].append([searched[1][i] == label for i in order])
    for mode, rankings in expected.items():
        for k in (1, 5, 10, 20):
            mean = np.mean([sum(ranking[:k]) / k for ranking in rankings])
            assert found["modes"][mode]["precision"][str(k)] == pytest.approx(mean), (mode, k)
        assert found["modes"][mode]["map"] == pytest.approx(np.mean([reference_ap(ranking) for ranking in rankings])), (
            mode
        )
    with torch.inference_mode():
        logits = network(torch.from_numpy(asking[0]))[0].numpy()
    assert found["accuracy"] == pytest.approx(np.mean([CLASSES[i] for i in logits.argmax(axis=1)] == asking[1]))


def both(network: LatentHashNet, plain: LatentHashNet) -> list[tuple[str, LatentHashNet]]:
    return [("tiny", network), ("plain", plain.eval())]


def read(split: Path) -> tuple[Codes, np.ndarray[Any, np.dtype[np.str_]]]:
    preprocess = replace(BACKBONES["efficientnet_lite0"].preprocess, size=32)
    paths = sorted(split.rglob("*.png"))
    return np.stack([preprocess(open_rgb(path)) for path in paths]), np.array([path.parent.name for path in paths])


def by_distance(query: Floats, vectors: Floats, candidates: Any) -> list[int]:
    difference = {i: float(np.square(vectors[i].astype(float) - query).sum()) for i in candidates}
    return sorted(difference, key=lambda i: (difference[i], i))


def reference_ap(ranking: list[bool]) -> float:
    precisions = [sum(ranking[: i + 1]) / (i + 1) for i, hit in enumerate(ranking) if hit]
    return sum(precisions) / len(precisions)


def test_reported_modes_use_the_checkpoint_norm(evaluated: tuple[dict[str, Any], Path, Any]) -> None:
    found, _, _ = evaluated
    norms = found["feature_norm"]
    assert norms["used"] == "raw"
    assert {mode: norms["raw"][mode] for mode in ("es", "hds")} == {m: found["modes"][m] for m in ("es", "hds")}
    assert norms["unit"]["es"] != norms["raw"]["es"]


def encoded(count: int, seed: int) -> Encoded:
    rng = np.random.default_rng(seed)
    codes, features = rng.integers(0, 256, (count, 2), np.uint8), rng.random((count, 4), np.float32)
    return Encoded(tuple(Path(str(i)) for i in range(count)), rng.integers(0, 3, count), codes, features, None)


def test_unseen_classes_are_measured_separately() -> None:
    queries, database = encoded(12, seed=1), encoded(40, seed=2)
    found = measure_unseen(queries, database, [0, 2], CLASSES, "raw", POOL, {})
    assert found is not None
    searched = np.flatnonzero(database.labels != 1)
    averages = []
    for label, feature in zip(queries.labels, queries.features, strict=True):
        if label != 1:
            order = by_distance(feature, database.features, searched)
            averages.append(reference_ap([database.labels[i] == label for i in order]))
    assert found["classes"] == ["blue", "red"]
    assert (found["database"], found["queries"]) == (len(searched), len(averages))
    assert found["modes"]["es"]["map"] == pytest.approx(np.mean(averages))
    assert measure_unseen(queries, database, [], CLASSES, "raw", POOL, {}) is None


def test_all_classes_unseen_reuses_the_overall_measures() -> None:
    modes = {"es": {"map": 0.5}}
    found = measure_unseen(encoded(3, seed=1), encoded(9, seed=2), [0, 1, 2], CLASSES, "raw", POOL, modes)
    assert found is not None
    assert found["modes"] is modes


def test_accuracy_has_a_reason_if_missing(checkpoint_path: Path) -> None:
    network, info = load(checkpoint_path)
    found = classification(network, info, ("blue", "shoes"), encoded(3, seed=1))
    assert found["accuracy"] is None
    assert found["accuracy_missing"].endswith(": green, red, shoes.")


def test_missing_imagenet_weights_are_reported_with_a_reason(
    checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unavailable(_network: LatentHashNet) -> None:
        raise WeightsUnavailableError("no weights here")

    monkeypatch.setattr(LatentHashNet, "load_imagenet", unavailable)
    assert imagenet_network(read_info(checkpoint_path)) == (None, "no weights here")
    _, modes = retrieval(encoded(3, seed=1), encoded(9, seed=2), "unit", POOL)
    assert set(modes) == {"es", "hds", "bcs"}


def test_folder_without_splits_uses_a_tenth_of_every_class_as_queries(tmp_path: Path, checkpoint_path: Path) -> None:
    whole = coloured_folder(tmp_path / "whole", per_class=20)
    info = read_info(checkpoint_path)
    database, queries, origin = split_queries(whole, info)
    assert np.bincount(queries.labels).tolist() == [2, 2, 2]
    assert (len(database), origin) == (54, "drawn")
    assert not set(database.paths) & set(queries.paths)
    assert split_queries(whole, info)[1].paths == queries.paths


def test_queries_are_held_out_only_for_the_training_files(tmp_path: Path, checkpoint_path: Path) -> None:
    whole = coloured_folder(tmp_path / "whole", per_class=20)
    info = replace(read_info(checkpoint_path), training={"files": read_splits(whole)["train"].checksum()})
    assert split_queries(whole, info)[2] == "held out"
    moved = whole.rename(tmp_path / "elsewhere")
    assert split_queries(moved, info)[2] == "held out"
    next(moved.glob("red/*")).unlink()
    assert split_queries(moved, info)[2] == "drawn"


def test_validation_split_provides_queries_without_a_test_split(tmp_path: Path, checkpoint_path: Path) -> None:
    coloured_folder(tmp_path / "train", per_class=5)
    coloured_folder(tmp_path / "val", per_class=2)
    database, queries, origin = split_queries(tmp_path, read_info(checkpoint_path))
    assert (len(database), len(queries), origin) == (15, 6, "validation")


def test_unseen_classes_can_be_required_or_disabled(checkpoint_path: Path, folder: Path) -> None:
    info = read_info(checkpoint_path)
    files = split_queries(folder, info)[0]
    assert unseen_labels(files, info, None) == []
    with pytest.raises(DatasetError, match="two or more that tiny was not trained on, not 0"):
        unseen_labels(files, info, True)
    stranger = replace(info, classes=())
    assert unseen_labels(files, stranger, None) == unseen_labels(files, stranger, True) == [0, 1, 2]
    assert unseen_labels(files, stranger, False) == []


def test_evaluate_validates_its_arguments_before_encoding(tmp_path: Path, checkpoint_path: Path, folder: Path) -> None:
    with pytest.raises(CheckpointError, match="There is no checkpoint nowhere"):
        evaluate("nowhere", folder, tmp_path / "out")
    with pytest.raises(DatasetError, match="contains no labelled images"):
        evaluate(checkpoint_path, tmp_path, tmp_path / "out")
    single = tmp_path / "single" / "red"
    single.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(single / "one.png")
    with pytest.raises(DatasetError, match="every class has only one image"):
        evaluate(checkpoint_path, single.parent, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="file is not writable"):
        evaluate(checkpoint_path, folder, tmp_path / "file")


def test_evaluate_without_a_readable_image_raises(tmp_path: Path, checkpoint_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    files = LabelledFiles(("red",), (broken,), np.zeros(1, np.int64))
    with pytest.raises(DatasetError, match=r"None of the 1 files is a readable image; the first is .*broken\.png"):
        encode_files(files, load(checkpoint_path)[0], None, lambda *_: None)


def test_evaluate_command_prints_the_report_path(tmp_path: Path, checkpoint_path: Path, folder: Path) -> None:
    answer = CliRunner().invoke(app, ["evaluate", str(checkpoint_path), str(folder), "--out", str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "out" / "report.html").is_file()
    assert "1 unreadable files were skipped." in answer.output
    answer = CliRunner().invoke(app, ["evaluate", "nowhere", str(folder), "--out", str(tmp_path / "out")])
    assert answer.exit_code == 1
    assert "There is no checkpoint nowhere" in answer.output
