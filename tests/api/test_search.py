"""Search over HTTP, compared with brute force."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import make_url

from app.main import create_app
from app.search.pipeline import Searcher
from app.settings import Settings
from models.network.latent_layer import LatentLayer
from tests.api.test_index import add_images, random_image
from tests.catalogue.postgres import connect
from tests.conftest import open_with_fake
from tests.fakes import FAKE_NETWORK, FakeEncoder
from tests.images import encoded

Rows = NDArray[np.int64]

COUNT, GROUPED = 200, 150
LABELS = ("boots", "hats", None)
QUERIES = (0, 57, 1000, 1001)


def drawing(seed: int) -> Image.Image:
    """Return a random image of 2 × 2 squares in three colours, so that many images are alike and some equal."""
    rng = np.random.default_rng(seed % 150)
    colours = rng.choice(np.array([[230, 40, 40], [40, 40, 230], [240, 240, 240]], np.uint8), (2, 2))
    return Image.fromarray(colours).resize((16, 16), Image.Resampling.NEAREST)


def shop(number: int) -> float | str:
    """Return the group of an image: one large group, with its number in two forms, and small ones."""
    return [1, 1.0][number % 2] if number % 5 else f"shop {number % 35}"


@dataclass(frozen=True)
class Truth:
    """Brute-force reference of the catalogue; row i of every array is one image, ids ascending."""

    client: TestClient
    ids: NDArray[np.int64]
    codes: NDArray[np.uint8]
    features: NDArray[np.float32]
    labels: NDArray[np.object_]

    def distances(self, seed: int) -> NDArray[np.float64]:
        query = FakeEncoder().encode_many([drawing(seed)]).features[0].astype(np.float64)
        distances: NDArray[np.float64] = np.sqrt(((self.features - query) ** 2).sum(1))
        return distances

    def hamming(self, seed: int) -> Rows:
        query = FakeEncoder().encode_many([drawing(seed)]).codes[0]
        bits: Rows = np.unpackbits(self.codes ^ query, axis=1).sum(1, dtype=np.int64)
        return bits

    def search(self, seed: int, **parameters: Any) -> dict[str, Any]:
        files = {"image": encoded(drawing(seed), "PNG")}
        answer = self.client.post("/search", params=parameters, files=files)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture(scope="module")
def truth(postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Truth]:
    """A catalogue of images that are alike, some of them equal; no test changes it."""
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE searched TEMPLATE {template}")
        url = make_url(postgres_url).set(database="searched").render_as_string(hide_password=False)
        folder = tmp_path_factory.mktemp("searched")
        settings = Settings(data_dir=folder, database_url=url, demo="off", auth="off", _env_file=None)
        with TestClient(create_app(settings, open_with_fake)) as client:
            yield filled(client)
        connection.execute("DROP DATABASE searched WITH (FORCE)")


def filled(client: TestClient) -> Truth:
    drawings = [drawing(seed) for seed in range(COUNT)]
    labels = [LABELS[number % 3] for number in range(COUNT)]
    about: list[dict[str, Any]] = [
        {"key": f"key {number}", "label": label, "price": number, "shop": shop(number)}
        for number, label in enumerate(labels)
    ]
    for number, metadata in enumerate(about[:GROUPED]):
        metadata["product"] = {"number": number % 12}
    items = add_images(client, *(encoded(image, "PNG") for image in drawings), metadata=about)
    encoded_drawings = FakeEncoder().encode_many(drawings)
    ids = np.array([item["id"] for item in items], np.int64)
    assert (np.diff(ids) > 0).all()
    return Truth(client, ids, encoded_drawings.codes, encoded_drawings.features, np.array(labels, object))


def expect_codes(truth: Truth, answer: dict[str, Any], seed: int, rows: Rows, k: int) -> None:
    """Assert that the results are the first k of `rows` by (Hamming distance, id)."""
    hamming = truth.hamming(seed)
    expected = [(int(truth.ids[row]), int(hamming[row])) for row in nearest_codes(truth, seed, rows, k)]
    assert [(match["id"], match["hamming"]) for match in answer["results"]] == expected
    assert [match["distance"] for match in answer["results"]] == [distance for _, distance in expected]


def expect_vectors(truth: Truth, answer: dict[str, Any], seed: int, rows: Rows, k: int) -> None:
    """Assert that the results are the k of `rows` with the smallest distances, in order, ties by id.

    Rows whose distances differ only by rounding may be in any order.
    """
    pairs = [(match["distance"], match["id"]) for match in answer["results"]]
    found = np.searchsorted(truth.ids, [image_id for _, image_id in pairs])
    assert pairs == sorted(pairs)
    assert set(found.tolist()) <= set(rows.tolist())
    assert len(set(found.tolist())) == len(pairs) == min(k, len(rows))
    assert [match["hamming"] for match in answer["results"]] == truth.hamming(seed)[found].tolist()
    given, distances = [distance for distance, _ in pairs], truth.distances(seed)
    assert given == pytest.approx(distances[found].tolist(), abs=1e-4)
    assert given == pytest.approx(np.sort(distances[rows])[:k].tolist(), abs=1e-4)


def nearest_codes(truth: Truth, seed: int, rows: Rows, pool: int | None) -> Rows:
    return rows[np.argsort(truth.hamming(seed)[rows], kind="stable")][:pool]


def test_catalogue_has_ties(truth: Truth) -> None:
    assert len(np.unique(truth.codes, axis=0)) < COUNT / 2
    assert len(np.unique(truth.features, axis=0)) < COUNT / 2


@pytest.mark.parametrize("seed", QUERIES)
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_es_equals_brute_force_over_vectors(truth: Truth, seed: int, k: int) -> None:
    answer = truth.search(seed, mode="es", k=k)
    expect_vectors(truth, answer, seed, np.arange(COUNT), k)
    assert answer["pool_size"] == answer["catalogue_size"] == COUNT


@pytest.mark.parametrize("seed", QUERIES)
@pytest.mark.parametrize("k", [1, 10, 1000])
def test_bcs_equals_brute_force_over_codes(truth: Truth, seed: int, k: int) -> None:
    answer = truth.search(seed, mode="bcs", k=k)
    expect_codes(truth, answer, seed, np.arange(COUNT), k)


@pytest.mark.parametrize("seed", QUERIES)
@pytest.mark.parametrize(("pool", "k"), [(1, 10), (25, 10), (60, 100), (COUNT, 10), (5000, 7)])
def test_hds_equals_brute_force_over_the_pool(truth: Truth, seed: int, pool: int, k: int) -> None:
    answer = truth.search(seed, pool=pool, k=k)
    candidates = nearest_codes(truth, seed, np.arange(COUNT), pool)
    if not truth.hamming(seed)[candidates].any():
        candidates = np.flatnonzero(truth.hamming(seed) == 0)
    expect_vectors(truth, answer, seed, candidates, k)
    assert (answer["mode"], answer["pool_size"]) == ("hds", len(candidates))


@pytest.mark.parametrize("seed", QUERIES)
@pytest.mark.parametrize("radius", [0, 6, 20, 64])
@pytest.mark.parametrize("pool", [None, 15])
def test_radius_bounds_the_pool(truth: Truth, seed: int, radius: int, pool: int | None) -> None:
    parameters = {"radius": radius} if pool is None else {"radius": radius, "pool": pool}
    answer = truth.search(seed, k=50, **parameters)
    within = np.flatnonzero(truth.hamming(seed) <= radius)
    candidates = nearest_codes(truth, seed, within, pool)
    expect_vectors(truth, answer, seed, candidates, 50)
    assert answer["pool_size"] == len(candidates)


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
@pytest.mark.parametrize("label", ["boots", "hats"])
def test_search_with_a_label_ranks_only_its_images(truth: Truth, mode: str, label: str) -> None:
    answer = truth.search(3, mode=mode, label=label, k=30)
    rows = np.flatnonzero(truth.labels == label)
    (expect_codes if mode == "bcs" else expect_vectors)(truth, answer, 3, rows, 30)
    assert {match["label"] for match in answer["results"]} == {label}


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
def test_search_with_an_unknown_label_finds_nothing(truth: Truth, mode: str) -> None:
    answer = truth.search(3, mode=mode, label="unknown")
    assert (answer["results"], answer["pool_size"], answer["catalogue_size"]) == ([], 0, COUNT)


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
@pytest.mark.parametrize("most", [3, 30, 150])
def test_search_with_a_filter_ranks_only_matching_images(truth: Truth, mode: str, most: int) -> None:
    filter_ = {"price": {"$lt": most}, "$or": [{"label": "boots"}, {"label": {"$exists": False}}]}
    answer = truth.search(3, mode=mode, filter=json.dumps(filter_), k=30)
    rows = np.flatnonzero((np.arange(COUNT) < most) & (truth.labels != "hats"))
    (expect_codes if mode == "bcs" else expect_vectors)(truth, answer, 3, rows, 30)
    assert answer["warnings"] == []


def test_search_with_a_crop(truth: Truth) -> None:
    wide = Image.new("RGB", (64, 40), "green")
    wide.paste(drawing(57), (30, 20))
    files = {"image": encoded(wide, "PNG")}
    cropped = truth.client.post("/search", params={"crop": "30,20,16,16"}, files=files).json()
    assert cropped["results"] == truth.search(57)["results"]
    assert truth.client.post("/search", files=files).json()["results"] != cropped["results"]


@pytest.mark.parametrize("crop", ["60,0,10,10", "0,0,0,5", "a,b,c,d", "1,2,3", "-1,0,5,5", "0,0,9999999999,1"])
def test_invalid_crop_returns_422(truth: Truth, crop: str) -> None:
    files = {"image": encoded(Image.new("RGB", (64, 40), "green"), "PNG")}
    answer = truth.client.post("/search", params={"crop": crop}, files=files)
    assert answer.status_code == 422
    assert "crop" in answer.json()["detail"]


def test_batch_equals_single_searches(truth: Truth) -> None:
    files = [("images", encoded(drawing(seed), "PNG")) for seed in QUERIES]
    files.insert(2, ("images", b"not a picture"))
    items = truth.client.post("/search/batch", params={"k": 7, "label": "boots"}, files=files).json()["items"]
    assert "not in a supported image format" in items.pop(2)["error"]
    assert [item["response"]["results"] for item in items] == [
        truth.search(seed, k=7, label="boots")["results"] for seed in QUERIES
    ]


def test_batch_above_the_limit_or_empty_returns_422(truth: Truth) -> None:
    files = [("images", encoded(drawing(1), "PNG"))] * 33
    assert truth.client.post("/search/batch", files=files).status_code == 422
    assert truth.client.post("/search/batch", files=[]).status_code == 422


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
@pytest.mark.parametrize("k", [1, 5, 20, 100])
def test_group_by_returns_the_best_match_of_each_group(truth: Truth, mode: str, k: int) -> None:
    everything = truth.search(3, mode=mode, pool=COUNT, k=COUNT)["results"]
    best, seen = [], set()
    for match in everything:
        product = match["metadata"].get("product", {"alone": match["id"]})
        if str(product) not in seen:
            best.append(match)
        seen.add(str(product))
    assert truth.search(3, mode=mode, pool=COUNT, k=k, group_by="product")["results"] == best[:k]
    assert len(best) == 12 + COUNT - GROUPED


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(QUERIES),
    mode=st.sampled_from(["hds", "bcs", "es"]),
    k=st.integers(1, 12),
    pool=st.integers(1, COUNT),
)
def test_groups_equal_brute_force_behind_a_large_group(truth: Truth, seed: int, mode: str, k: int, pool: int) -> None:
    by_code = truth.search(seed, mode="bcs", k=COUNT)["results"]
    by_features = truth.search(seed, mode="es", k=COUNT)["results"]
    order = by_code if mode == "bcs" else by_features
    if mode == "hds":
        candidates = {match["id"] for match in grown_pool(by_code, pool, k)}
        order = [match for match in by_features if match["id"] in candidates]
    best: dict[float | str, dict[str, Any]] = {}
    for match in order:
        best.setdefault(match["metadata"]["shop"], match)
    answer = truth.search(seed, mode=mode, k=k, pool=pool, group_by="shop")
    assert [match["id"] for match in answer["results"]] == [match["id"] for match in best.values()][:k]
    assert len(answer["results"]) == min(k, 1 + 7), "there are 8 shops"
    assert (answer["group_limit_reached"], answer["warnings"]) == (False, [])


def grown_pool(by_code: list[dict[str, Any]], size: int, k: int) -> list[dict[str, Any]]:
    """The pool that `size` candidates become, so that it has k groups."""
    if by_code[size - 1]["hamming"] == 0:
        size = sum(match["hamming"] == 0 for match in by_code)
    pool, shops = by_code[:size], {match["metadata"]["shop"] for match in by_code[:size]}
    full = set(shops)
    for match in by_code[size:]:
        if len(shops) < k and match["metadata"]["shop"] not in full:
            pool.append(match)
            shops.add(match["metadata"]["shop"])
    return pool


def test_answer_names_the_limit_that_ended_the_search_for_groups(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("app.search.grouping", "app.api.routes.search"):
        monkeypatch.setattr(f"{module}.MAX_GROUPED", 60)
    for mode in ("hds", "bcs", "es"):
        answer = truth.search(3, mode=mode, k=100, pool=20, group_by="shop")
        assert answer["group_limit_reached"]
        (warning,) = answer["warnings"]
        assert f"Only {len(answer['results'])} groups are among the nearest 60 images" in warning
        assert not truth.search(3, mode=mode, k=100, pool=20)["group_limit_reached"]


def test_group_by_label(truth: Truth) -> None:
    found = truth.search(3, k=50, group_by="label")["results"]
    assert [match["label"] for match in found].count("boots") == 1
    assert [match["label"] for match in found].count("hats") == 1


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
def test_explanation_has_rank_by_code_and_differing_bits(truth: Truth, mode: str) -> None:
    answer = truth.search(57, mode=mode, k=30, explain=True)
    order = truth.ids[nearest_codes(truth, 57, np.arange(COUNT), None)].tolist()
    code = np.frombuffer(bytes.fromhex(answer["code"]), np.uint8)
    for match in answer["results"]:
        explained = match["explanation"]
        own = np.frombuffer(bytes.fromhex(explained["code"]), np.uint8)
        assert explained["differing_bits"] == np.flatnonzero(np.unpackbits(own ^ code)).tolist()
        assert len(explained["differing_bits"]) == match["hamming"]
        assert explained["coarse_rank"] == (None if mode == "es" else order.index(match["id"]) + 1)
    assert all(match["explanation"] is None for match in truth.search(57, mode=mode)["results"])


def test_answer_says_whether_candidates_are_in_asymmetric_order(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = FakeEncoder()._planes
    latent = LatentLayer(np.ascontiguousarray(planes.T), -planes.sum(axis=0) / 2, 2.0)
    monkeypatch.setattr("app.bootstrap.Searcher", lambda *args, **named: Searcher(*args, **{**named, "latent": latent}))
    with TestClient(create_app(settings, open_with_fake)) as client:
        truth = filled(client)
        wishes: list[dict[str, Any]] = [{}, {"asymmetric": True}, {"asymmetric": False}]
        for mode, wish in itertools.product(("hds", "bcs", "es"), wishes):
            parameters = {"mode": mode, "k": 30, "explain": True, **wish}
            answer = truth.search(57, **parameters)
            assert answer["asymmetric"] == (wish.get("asymmetric", True) and mode != "es")
            similar = client.get(f"/images/{truth.ids[57]}/similar", params=parameters).json()
            assert [similar[name] for name in ("asymmetric", "code", "results")] == [
                answer[name] for name in ("asymmetric", "code", "results")
            ]
        by_code = truth.search(57, mode="bcs", k=30)["results"]
        assert [match["hamming"] for match in by_code] != sorted(match["hamming"] for match in by_code)


def test_answer_without_a_latent_layer_is_in_hamming_order(truth: Truth) -> None:
    answers = [truth.search(57, mode="bcs", k=30, asymmetric=asymmetric) for asymmetric in (True, False)]
    assert [answer["asymmetric"] for answer in answers] == [False, False]
    assert answers[0]["results"] == answers[1]["results"]


def test_label_and_filter_must_both_match(truth: Truth) -> None:
    answer = truth.search(3, label="hats", filter='{"price": {"$gte": 100}}', k=100)
    rows = np.flatnonzero((np.arange(COUNT) >= 100) & (truth.labels == "hats"))
    expect_vectors(truth, answer, 3, rows, 100)


def test_filter_without_matches_warns_of_unknown_labels_and_fields(truth: Truth) -> None:
    assert truth.search(3, filter='{"price": -5}')["warnings"] == []
    answer = truth.search(3, label="kids' shoes", filter='{"prize": 5}')
    assert answer["results"] == []
    assert answer["warnings"] == ['No image has the label "kids\' shoes".', "No image has the field 'prize'."]


def test_invalid_filter_returns_422(truth: Truth) -> None:
    for method, path, files in (
        ("POST", "/search", {"image": encoded(drawing(1), "PNG")}),
        ("GET", "/images", None),
        ("GET", "/images/1/similar", None),
    ):
        answer = truth.client.request(method, path, params={"filter": '{"price": {"$near": 5}}'}, files=files)
        assert answer.status_code == 422
        assert "price.$near is not a known operator" in answer.json()["detail"]


def test_radius_without_candidates_finds_nothing(client: TestClient) -> None:
    add_images(client, random_image(1))
    answer = client.post("/search", params={"radius": 0}, files={"image": random_image(2)}).json()
    assert (answer["results"], answer["pool_size"]) == ([], 0)


def test_response_has_all_documented_fields(truth: Truth) -> None:
    answer = truth.search(5)
    assert answer["model_fingerprint"] == FAKE_NETWORK.fingerprint
    assert answer["code"] == FakeEncoder().encode_many([drawing(5)]).codes[0].tobytes().hex()
    assert (answer["mode"], answer["pool_size"], answer["catalogue_size"]) == ("hds", COUNT, COUNT)
    assert len(answer["results"]) == 10
    assert set(answer["timings_ms"]) == {"decode", "encode", "coarse", "fine", "catalogue", "total"}
    assert all(value >= 0 for value in answer["timings_ms"].values())
    first = answer["results"][0]
    assert (first["distance"], first["hamming"]) == (0, 0)
    assert first["image_url"] == f"/images/{first['id']}/original"
    assert first["thumbnail_url"] == f"/images/{first['id']}/thumbnail"
    assert truth.client.get(first["thumbnail_url"]).status_code == 200


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
def test_repeated_search_returns_the_same_result(truth: Truth, mode: str) -> None:
    first, second = (truth.search(57, mode=mode, k=100)["results"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
@pytest.mark.parametrize("row", [0, 57, 199])
def test_search_by_id_equals_search_by_its_image(truth: Truth, mode: str, row: int) -> None:
    by_id = truth.client.get(f"/images/{truth.ids[row]}/similar", params={"mode": mode, "k": 25}).json()
    by_picture = truth.search(row, mode=mode, k=25)
    assert by_id["results"] == by_picture["results"]
    assert (by_id["code"], by_id["pool_size"]) == (by_picture["code"], by_picture["pool_size"])
    assert by_id["results"][0]["distance"] == 0


def test_search_of_an_empty_catalogue_returns_no_results(client: TestClient) -> None:
    for mode in ("hds", "bcs", "es"):
        answer = client.post("/search", params={"mode": mode}, files={"image": random_image(1)})
        assert answer.status_code == 200
        assert (answer.json()["results"], answer.json()["catalogue_size"]) == ([], 0)
