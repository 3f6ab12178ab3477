"""What a report says of catalogues whose truth is known."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bootstrap import assemble
from app.catalogue.database.sessions import Database
from app.errors import LookalikeError
from app.ingest.pipeline import Upload
from app.quality.advice import Tried, advise
from app.quality.codes import correlated
from app.quality.drift import drift, effect
from app.quality.neighbours import nearest
from app.quality.page import page, write
from app.quality.pools import pools_to_try
from app.quality.report import measure
from app.search.types import SearchOptions
from app.settings import Settings
from models.network.codes import binarise
from tests.crash.ledger import drawing
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.quality.planted import BITS, DIM, around_centres, codes_of, planted

NETWORK = replace(FAKE_NETWORK, bits=BITS, feature_dim=DIM)


def unheard(_done: int, _total: int) -> None:
    pass


def by_brute_force(features: NDArray[np.float32], query: int, k: int) -> list[int]:
    far = np.linalg.norm(features.astype(np.float64) - features[query], axis=1)
    far[query] = np.inf
    found: list[int] = np.argsort(far, kind="stable")[:k].tolist()
    return found


def test_the_nearest_are_those_of_brute_force_over_more_rows_than_a_block(tmp_path: Path) -> None:
    features, labels = around_centres(9000, 5)
    queries = np.array([0, 17, 4095, 4096, 8999])
    with planted(tmp_path, features, codes_of(features), labels, 5) as (content, vectors):
        found = nearest(content, vectors, queries, 10)
    for at, query in enumerate(queries):
        assert found.rows[at].tolist() == by_brute_force(features, int(query), 10)
    assert (np.diff(found.distances, axis=1) >= 0).all()


def test_pictures_that_are_all_the_same_find_each_other(tmp_path: Path) -> None:
    features = np.ones((60, DIM), np.float32)
    with planted(tmp_path, features, codes_of(features), np.zeros(60, np.int64), 1) as (content, vectors):
        found = measure(content, vectors, NETWORK, 1000, 500, unheard)
    assert found["lost"]["found"] == 1
    assert found["codes"]["dead"] == BITS
    assert found["codes"]["distinct"] == 1
    assert page(found)


def test_codes_that_know_nothing_lose_what_a_pool_of_their_share_leaves_out(tmp_path: Path) -> None:
    features, labels = around_centres(3000, 4)
    random = np.random.default_rng(5).integers(0, 256, (3000, BITS // 8), np.uint8)
    with planted(tmp_path, features, random, labels, 4) as (content, vectors):
        found = measure(content, vectors, NETWORK, 30, 200, unheard)
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


def test_codes_that_follow_the_vectors_want_a_small_pool(tmp_path: Path) -> None:
    features, labels = around_centres(3000, 4)
    with planted(tmp_path, features, codes_of(features, 256), labels, 4) as (content, vectors):
        found = measure(content, vectors, replace(NETWORK, bits=256), 1000, 200, unheard)
    assert found["advice"]["pool"] == 30
    assert "LOOKALIKE_SEARCH_POOL=30" in found["advice"]["why"]
    assert found["precision"]["both"] == found["precision"]["exact"] == 1


def test_damaged_vectors_are_counted_and_left_out(tmp_path: Path) -> None:
    features, labels = around_centres(100, 2)
    with planted(tmp_path, features, codes_of(features), labels, 2) as (content, vectors):
        vectors.write(content.entries.slots[:3], np.zeros((3, DIM), np.float32))
        found = measure(content, vectors, NETWORK, 100, 500, unheard)
    assert found["catalogue"]["damaged"] == 3
    assert found["queries"] == 97
    assert "lookalike check --repair" in page(found)


def test_too_few_pictures_are_a_sentence(tmp_path: Path) -> None:
    features, labels = around_centres(5, 1)
    with (
        planted(tmp_path, features, codes_of(features), labels, 1) as (content, vectors),
        pytest.raises(LookalikeError, match="wants 20 pictures or more, and the catalogue has 5"),
    ):
        measure(content, vectors, NETWORK, 100, 500, unheard)


def test_without_labels_nothing_is_said_of_precision(tmp_path: Path) -> None:
    features, _ = around_centres(50, 3)
    with planted(tmp_path, features, codes_of(features), np.full(50, -1), 0) as (content, vectors):
        found = measure(content, vectors, NETWORK, 1000, 500, unheard)
    assert found["precision"] is None
    assert found["labels"] == []
    assert found["codes"]["colliding"] is None
    assert "Without labels nobody knows" in page(found)
    assert "too few pictures" in page(found)


def test_the_files_need_nothing_else_and_can_be_read(tmp_path: Path) -> None:
    features, labels = around_centres(300, 3)
    with planted(tmp_path, features, codes_of(features), labels, 3) as (content, vectors):
        escaped = replace(content, names=("<b>", "shoes & hats", "label"))
        found = measure(escaped, vectors, NETWORK, 30, 100, unheard)
    path = write(found, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == json.loads(json.dumps(found))
    html = path.read_text()
    assert "shoes &amp; hats" in html
    assert "<b>" not in html.replace("<b>Recommended", "").replace("<b>fake</b>", "")
    assert not re.search(r"""src=|href="[^#]|url\([^#]|https?://""", html)
    assert html.count("<svg") == 2
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["report.html", "report.json"]


def test_the_ladder_ends_with_a_pool_that_holds_everything() -> None:
    assert pools_to_try(1000, 49) == (30, 49, 1000)
    assert pools_to_try(50, 700) == (30, 50, 100, 300, 500, 700)
    assert pools_to_try(100, 200_000) == (30, 100, 300, 1000, 3000, 10_000)


def tried(*rows: tuple[int, float, float | None]) -> list[Tried]:
    return [Tried(pool, recall, precision, 1.0) for pool, recall, precision in rows]


def test_with_labels_the_smallest_pool_of_nearly_the_best_precision_is_advised() -> None:
    rows = tried((30, 0.5, 0.89), (100, 0.8, 0.905), (300, 0.9, 0.908), (1000, 0.99, 0.88))
    advice = advise(rows, 1000, 100, 5000)
    assert advice.pool == 100
    assert "precision, 0.905" in advice.why
    assert advise(rows, 1000, 10, 5000).pool == 1000, "so few labels tell nothing"


def test_without_labels_the_smallest_pool_with_enough_recall_is_advised() -> None:
    rows = tried((30, 0.5, None), (100, 0.96, None), (300, 0.99, None))
    assert "in use" in advise(rows, 100, 0, 5000).why
    assert advise(rows[:1], 100, 0, 5000).pool == 30
    assert "largest pool" in advise(rows[:1], 100, 0, 5000).why


def test_bits_that_say_the_same_are_named() -> None:
    bits = np.random.default_rng(0).integers(0, 2, (500, 16)).astype(np.float32)
    bits[:, 9] = bits[:, 2]
    bits[:, 12] = 1 - bits[:, 5]
    bits[:, 0] = 1
    pairs = correlated(binarise(bits))
    assert [(one, other, round(strength)) for one, other, strength in pairs] == [(2, 9, 1), (5, 12, -1)]
    assert correlated(np.zeros((10, 2), np.uint8)) == []


def test_the_recommended_pool_can_be_set(settings: Settings, database: Database) -> None:
    few = settings.model_copy(update={"search_pool": 7})
    with assemble(few, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service:
        service.ingest.add([Upload(drawing(at), None, {}) for at in range(20)])
        assert service.searcher.by_picture(drawing(3), SearchOptions(k=5)).pool_size == 7
        assert service.searcher.by_picture(drawing(3), SearchOptions(k=5, pool=12)).pool_size == 12


@pytest.mark.parametrize(("shift", "low", "high"), [(0.0, 0.0, 0.06), (0.5, 0.45, 0.55), (2.0, 1.9, 2.1)])
def test_an_effect_is_a_distance_in_spreads_and_chance_makes_none(shift: float, low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(5000, 30)), rng.normal(size=(400, 30))
    new += shift
    found = effect(old.astype(np.float32), new.astype(np.float32))
    assert low <= found.size <= high
    assert found.by_chance == (not shift)


def test_newer_pictures_of_another_kind_are_noticed(tmp_path: Path) -> None:
    features, labels = around_centres(1000, 3)
    with planted(tmp_path, features, codes_of(features), labels, 4) as (content, vectors):
        calm = drift(content, vectors)
    features[900:] += 5
    labels[900:] = 3
    with planted(tmp_path / "moved", features, codes_of(features), labels, 4) as (content, vectors):
        moved = drift(content, vectors)
    assert calm is not None
    assert moved is not None
    assert (calm["in_words"], calm["new_labels"]) == ("no drift to speak of", [])
    assert moved["in_words"] == "a strong drift"
    assert moved["new_labels"] == [{"label": "label 3", "pictures": 100}]
    assert moved["codes"] > calm["codes"]
