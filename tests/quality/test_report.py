"""Quality reports of synthetic catalogues with known neighbours."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bootstrap import build_service_with_encoder
from app.catalogue.database.sessions import Database
from app.errors import LookalikeError
from app.ingest.uploads import Upload
from app.quality.advice import PoolResult, recommend_pool
from app.quality.codes import correlated_bits
from app.quality.drift import drift, effect
from app.quality.neighbours import exact_neighbours
from app.quality.page import page, write
from app.quality.pools import pool_sizes
from app.quality.report import measure
from app.search.types import SearchOptions
from app.settings import Settings
from models.network.codes import binarise
from tests.crash.ledger import numbered_image
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.html_pages import HOSTILE, assert_hostile_text_is_shown
from tests.quality.planted import BITS, DIM, around_centres, codes_of, planted

NETWORK = replace(FAKE_NETWORK, bits=BITS, feature_dim=DIM)


def ignore_progress(_done: int, _total: int) -> None:
    pass


def by_brute_force(features: NDArray[np.float32], query: int, k: int) -> list[int]:
    distances = np.linalg.norm(features.astype(np.float64) - features[query], axis=1)
    distances[query] = np.inf
    nearest: list[int] = np.argsort(distances, kind="stable")[:k].tolist()
    return nearest


def test_exact_neighbours_equal_brute_force_over_several_blocks(tmp_path: Path) -> None:
    features, labels = around_centres(9000, 5)
    queries = np.array([0, 17, 4095, 4096, 8999])
    with planted(tmp_path, features, codes_of(features), labels, 5) as (content, vectors):
        found = exact_neighbours(content, vectors, queries, 10)
    for at, query in enumerate(queries):
        assert found.rows[at].tolist() == by_brute_force(features, int(query), 10)
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_identical_images_have_full_recall_and_dead_bits(tmp_path: Path) -> None:
    features = np.ones((60, DIM), np.float32)
    with planted(tmp_path, features, codes_of(features), np.zeros(60, np.int64), 1) as (content, vectors):
        found = measure(content, vectors, NETWORK, 1000, 500, ignore_progress)
    assert found["lost"]["found"] == 1
    assert found["codes"]["dead"] == BITS
    assert found["codes"]["distinct"] == 1
    assert page(found)


def test_random_codes_have_a_recall_of_the_pools_share(tmp_path: Path) -> None:
    features, labels = around_centres(3000, 4)
    random = np.random.default_rng(5).integers(0, 256, (3000, BITS // 8), np.uint8)
    with planted(tmp_path, features, random, labels, 4) as (content, vectors):
        found = measure(content, vectors, NETWORK, 30, 200, ignore_progress)
    recall = {one["pool"]: one["recall"] for one in found["pools"]}
    assert recall[30] == pytest.approx(30 / 3000, abs=0.02)
    assert recall[1000] == pytest.approx(1 / 3, abs=0.04)
    assert recall[2999] == 1
    lost = found["lost"]
    assert lost["wider"] == 300
    assert lost["by_codes"] == pytest.approx(0.9, abs=0.03)
    assert lost["found"] + lost["by_pool"] + lost["by_codes"] == pytest.approx(1)
    assert found["precision"]["exact"] == 1
    assert found["precision"]["codes"] == pytest.approx(0.25, abs=0.06)
    assert [one["queries"] for one in found["labels"]] != []
    precision = [one["both"] for one in found["labels"]]
    assert precision == sorted(precision)
    for one in found["labels"]:
        of_label = content.entries.ids[content.labels == content.names.index(one["label"])]
        assert len(set(one["examples"])) == 4
        assert set(one["examples"]) <= set(of_label.tolist())


def test_good_codes_get_a_small_pool_recommended(tmp_path: Path) -> None:
    features, labels = around_centres(3000, 4)
    with planted(tmp_path, features, codes_of(features, 256), labels, 4) as (content, vectors):
        found = measure(content, vectors, replace(NETWORK, bits=256, classes=("a", "b")), 1000, 200, ignore_progress)
    assert found["advice"]["pool"] == 30
    assert "LOOKALIKE_SEARCH_POOL=30" in found["advice"]["why"]
    assert found["precision"]["both"] == found["precision"]["exact"] == 1


def test_damaged_vectors_are_counted_and_left_out(tmp_path: Path) -> None:
    features, labels = around_centres(100, 2)
    with planted(tmp_path, features, codes_of(features), labels, 2) as (content, vectors):
        vectors.write(content.entries.slots[:3], np.zeros((3, DIM), np.float32))
        found = measure(content, vectors, NETWORK, 100, 500, ignore_progress)
    assert found["catalogue"]["damaged"] == 3
    assert found["queries"] == 97
    assert "lookalike check --repair" in page(found)


def test_too_few_images_are_an_error(tmp_path: Path) -> None:
    features, labels = around_centres(5, 1)
    with (
        planted(tmp_path, features, codes_of(features), labels, 1) as (content, vectors),
        pytest.raises(LookalikeError, match="at least 20 images, and the catalogue has 5"),
    ):
        measure(content, vectors, NETWORK, 100, 500, ignore_progress)


def test_report_without_labels_has_no_precision(tmp_path: Path) -> None:
    features, _ = around_centres(50, 3)
    with planted(tmp_path, features, codes_of(features), np.full(50, -1), 0) as (content, vectors):
        found = measure(content, vectors, NETWORK, 1000, 500, ignore_progress)
    assert found["precision"] is None
    assert found["labels"] == []
    assert found["codes"]["colliding"] is None
    assert "Precision cannot be measured" in page(found)
    assert "too few pictures" in page(found)


def test_report_files_are_self_contained_and_escaped(tmp_path: Path) -> None:
    features, labels = around_centres(300, 3)
    with planted(tmp_path, features, codes_of(features), labels, 3) as (content, vectors):
        escaped = replace(content, names=("<b>", "shoes & hats", "label"))
        found = measure(escaped, vectors, NETWORK, 30, 100, ignore_progress)
    path = write(found, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(json.dumps(found))
    html = path.read_text()
    assert "shoes &amp; hats" in html
    assert "<b>" not in html.replace("<b>Recommended", "").replace("<b>fake</b>", "")
    assert not re.search(r"""src=|href="[^#]|url\([^#]|https?://""", html)
    assert html.count("<svg") == 2
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]


def test_hostile_labels_are_shown_as_text(tmp_path: Path) -> None:
    features, labels = around_centres(300, 3)
    with planted(tmp_path, features, codes_of(features), labels, 3) as (content, vectors):
        hostile = replace(content, names=(HOSTILE, "shoes & hats", "label"))
        network = replace(NETWORK, name=HOSTILE)
        found = measure(hostile, vectors, network, 30, 100, ignore_progress)
    found["drift"]["new_labels"] = [{"label": HOSTILE, "pictures": 2}]
    found["advice"]["why"] = HOSTILE
    assert_hostile_text_is_shown(page(found), 4)


def test_pool_sizes_end_with_the_whole_catalogue_or_the_largest_size() -> None:
    assert pool_sizes(1000, 49) == (30, 49, 1000)
    assert pool_sizes(50, 700) == (30, 50, 100, 300, 500, 700)
    assert pool_sizes(100, 200_000) == (30, 100, 300, 1000, 3000, 10_000)


def results(*rows: tuple[int, float, float | None]) -> list[PoolResult]:
    return [PoolResult(pool, recall, precision, 1.0) for pool, recall, precision in rows]


def test_with_labels_the_smallest_pool_with_nearly_the_best_precision_is_recommended() -> None:
    rows = results((30, 0.5, 0.89), (100, 0.8, 0.905), (300, 0.9, 0.908), (1000, 0.99, 0.88))
    advice = recommend_pool(rows, 1000, 100, 5000)
    assert advice.pool == 100
    assert "precision, 0.905" in advice.why
    assert recommend_pool(rows, 1000, 10, 5000).pool == 1000, "too few labelled queries"


def test_without_labels_the_smallest_pool_with_sufficient_recall_is_recommended() -> None:
    rows = results((30, 0.5, None), (100, 0.99, None), (300, 0.999, None))
    assert "in use" in recommend_pool(rows, 100, 0, 5000).why
    assert recommend_pool(rows[:1], 100, 0, 5000).pool == 30
    assert "largest pool" in recommend_pool(rows[:1], 100, 0, 5000).why


def test_redundant_bits_are_listed() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (500, 16)).astype(np.float32)
    bits[:, 9] = bits[:, 2]
    bits[:, 12] = 1 - bits[:, 5]
    bits[:, 0] = 1
    pairs = correlated_bits(binarise(bits))
    assert [(one, other, round(strength)) for one, other, strength in pairs] == [(2, 9, 1), (5, 12, -1)]
    assert correlated_bits(np.zeros((10, 2), np.uint8)) == []


def test_search_pool_setting_is_the_default_pool_of_searches(settings: Settings, database: Database) -> None:
    small_pool = settings.model_copy(update={"search_pool": 7})
    with build_service_with_encoder(small_pool, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        service.ingest.add([Upload(numbered_image(at), None, {}) for at in range(20)])
        assert service.searcher.by_image(numbered_image(3), SearchOptions(k=5)).pool_size == 7
        assert service.searcher.by_image(numbered_image(3), SearchOptions(k=5, pool=12)).pool_size == 12


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.0, 0.06), (0.5, 0.45, 0.55), (2.0, 1.9, 2.1)])
def test_effect_is_a_distance_in_spreads_and_significant_only_with_a_shift(
    shift: float, low: float, high: float
) -> None:
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(5000, 30)), rng.normal(size=(400, 30))
    new += shift
    found = effect(old.astype(np.float32), new.astype(np.float32))
    assert low <= found.size <= high
    assert found.by_chance == (not shift)


def test_shifted_newest_images_are_strong_drift(tmp_path: Path) -> None:
    features, labels = around_centres(1000, 3)
    with planted(tmp_path, features, codes_of(features), labels, 4) as (content, vectors):
        stable = drift(content, vectors)
    features[900:] += 5
    labels[900:] = 3
    with planted(tmp_path / "moved", features, codes_of(features), labels, 4) as (content, vectors):
        shifted = drift(content, vectors)
    assert stable is not None
    assert shifted is not None
    assert (stable["in_words"], stable["new_labels"]) == ("no noticeable drift", [])
    assert shifted["in_words"] == "strong drift"
    assert shifted["new_labels"] == [{"label": "label 3", "pictures": 100}]
    assert shifted["codes"] > stable["codes"]
