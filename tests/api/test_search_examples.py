"""Searches with several examples over HTTP: forms, query parameters and JSON, and what is wrong with bad input."""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.bootstrap import build_service_with_encoder
from app.catalogue.database.sessions import Database
from app.catalogue.index_sync import IndexSync
from app.errors import ModelSwitchedError
from app.main import create_app
from app.search.encode.batching import NetworkInput
from app.search.index import Index
from app.search.rocchio import UNLIKE_FRACTION
from app.search.types import Encodings
from app.settings import Settings
from tests.api.test_form_parts import post
from tests.api.test_index import add_images, random_image
from tests.api.test_search import COUNT, LABELS, Truth, drawing, truth
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder
from tests.images import encoded

__all__ = ["truth"]

IMAGE = random_image(1)


def image(seed: int) -> bytes:
    return encoded(drawing(seed), "PNG")


def expected(truth: Truth, like: list[int], unlike: list[int]) -> Any:
    """Distances of all images to the combined F7, and the votes of the codes on each bit."""
    coded = FakeEncoder().encode_many([drawing(seed) for seed in (*like, *unlike)])
    shares = np.array([1 / len(like)] * len(like) + [-UNLIKE_FRACTION / max(len(unlike), 1)] * len(unlike))
    combined = shares @ coded.features.astype(np.float64) / shares.sum()
    votes = shares @ (2.0 * np.unpackbits(coded.codes, axis=1) - 1)
    return np.linalg.norm(truth.features.astype(np.float64) - combined, axis=1), votes


def search(truth: Truth, *, parameters: dict[str, Any] | None = None, **request: Any) -> dict[str, Any]:
    answer = truth.client.post("/search", params=parameters or {}, **request)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("mode", ["hds", "es"])
@pytest.mark.parametrize("label", [None, "boots"])
def test_results_equal_brute_force(truth: Truth, mode: str, label: str | None) -> None:
    distances, votes = expected(truth, [3, 57, 1000], [20])
    files = [("image", image(seed)) for seed in (3, 57, 1000)] + [("unlike_image", image(20))]
    parameters = {"mode": mode, "k": 40, "pool": COUNT} | ({"label": label} if label else {})
    answer = search(truth, parameters=parameters, files=files)
    rows = np.searchsorted(truth.ids, [match["id"] for match in answer["results"]])
    among = np.arange(COUNT) if label is None else np.flatnonzero(truth.labels == label)
    given = [match["distance"] for match in answer["results"]]
    assert given == pytest.approx(np.sort(distances[among])[:40].tolist(), abs=1e-4)
    assert given == pytest.approx(distances[rows].tolist(), abs=1e-4)
    assert answer["code"] == np.packbits(votes > 0).tobytes().hex()
    assert set(rows.tolist()) <= set(among.tolist())


def test_bcs_equals_brute_force_over_codes(truth: Truth) -> None:
    _, votes = expected(truth, [3, 57], [20])
    differing = np.unpackbits(truth.codes ^ np.packbits(votes > 0), axis=1)
    order = np.lexsort((truth.ids, differing.sum(axis=1), np.float32(differing @ np.abs(votes))))
    body = {"like": [int(truth.ids[3]), int(truth.ids[57])], "unlike": [int(truth.ids[20])]}
    answer = search(truth, parameters={"mode": "bcs", "k": 30}, json=body)
    assert [match["id"] for match in answer["results"]] == truth.ids[order[:30]].tolist()
    assert answer["asymmetric"]


def test_forms_query_parameters_and_json_are_one_search(truth: Truth) -> None:
    """Rows 3, 57 and 20 are drawn as the uploads are, so uploads, ids and keys of them are one query."""
    one, other, away = (int(truth.ids[row]) for row in (3, 57, 20))
    first = search(truth, json={"like": [one, "key 57"], "unlike": ["key 20"]})
    texts: list[tuple[str, Any]] = [("like", (None, "key:key 3")), ("like", (None, str(other)))]
    requests: list[dict[str, Any]] = [
        {"files": [("image", image(3)), ("image", image(57)), ("unlike_image", image(20))]},
        {"files": [("image", image(3)), ("like", (None, "key 57")), ("unlike", (None, str(away)))]},
        {"files": [*texts, ("unlike", (None, "key 20"))]},
        {"data": {"like": [str(one), "key 57"], "unlike": str(away)}},
        {"parameters": {"like": [one, "key 57"], "unlike": away}},
        {"parameters": {"like": one}, "json": {"like": [other], "unlike": [away]}},
        {"parameters": {"unlike": away}, "files": [("image", image(3)), ("like", (None, str(other)))]},
    ]
    for request in requests:
        assert search(truth, **request)["results"] == first["results"]
    assert len(first["results"]) == 10


@pytest.mark.parametrize("mode", ["hds", "bcs", "es"])
def test_one_example_equals_the_search_by_it(truth: Truth, mode: str) -> None:
    parameters: dict[str, Any] = {"mode": mode, "k": 30, "explain": "true"}
    by_id = truth.client.get(f"/images/{truth.ids[57]}/similar", params=parameters).json()
    for body in ({"like": [int(truth.ids[57])]}, {"like": ["key 57"]}, {"like": ["key 57"], "weights": {"like": [7]}}):
        answer = search(truth, parameters=parameters, json=body)
        for name in ("results", "code", "asymmetric", "pool_size", "warnings"):
            assert answer[name] == by_id[name]
    assert truth.search(57, **parameters)["results"] == by_id["results"]


def test_weights_move_the_query(truth: Truth) -> None:
    one, other = int(truth.ids[3]), int(truth.ids[57])
    heavy = search(truth, parameters={"mode": "es"}, json={"like": [one, other], "weights": {"like": [1, 0]}})
    alone = search(truth, parameters={"mode": "es"}, json={"like": [one]})
    assert heavy["results"] == alone["results"]
    files = [("image", image(3)), ("like", (None, str(other))), ("weights", (None, '{"image": [3], "like": [1]}'))]
    by_form = search(truth, parameters={"mode": "es"}, files=files)
    by_json = search(truth, parameters={"mode": "es"}, json={"like": [one, other], "weights": {"like": [3, 1]}})
    assert by_form["results"] == by_json["results"]
    assert by_form["results"] != search(truth, parameters={"mode": "es"}, json={"like": [one, other]})["results"]


def test_filters_groups_and_explanations_apply(truth: Truth) -> None:
    body = {"like": ["key 3", "key 57"], "unlike": ["key 20"]}
    parameters = {"filter": '{"price": {"$lt": 60}}', "group_by": "label", "k": 50, "explain": "true"}
    answer = search(truth, parameters=parameters, json=body)
    assert all(match["metadata"]["price"] < 60 for match in answer["results"])
    assert [match["label"] for match in answer["results"]].count("boots") == 1
    assert len(answer["results"]) == 2 + len([row for row in range(60) if LABELS[row % 3] is None])
    code = np.frombuffer(bytes.fromhex(answer["code"]), np.uint8)
    for match in answer["results"]:
        own = np.frombuffer(bytes.fromhex(match["explanation"]["code"]), np.uint8)
        assert match["explanation"]["differing_bits"] == np.flatnonzero(np.unpackbits(own ^ code)).tolist()
    nothing = search(truth, parameters={"label": "bots"}, json=body)
    assert (nothing["results"], nothing["warnings"]) == ([], ["No image has the label 'bots'."])


def test_combined_f7_has_unit_length_if_that_of_the_network_has(settings: Settings, database: Database) -> None:
    class UnitEncoder(FakeEncoder):
        def encode_many(self, images: Sequence[NetworkInput]) -> Encodings:
            raw = super().encode_many(images)
            lengths = np.linalg.norm(raw.features, axis=1, keepdims=True)
            return Encodings(raw.codes, (raw.features / lengths).astype(np.float32))

    network = replace(FAKE_NETWORK, feature_norm="unit")
    with build_service_with_encoder(settings, database, UnitEncoder(), network, FAKE_CHECKPOINT) as service:
        app = create_app(settings, lambda _: nullcontext(service))
        with TestClient(app) as client:
            add_images(client, *map(image, range(12)), metadata=[{"key": f"key {at}"} for at in range(12)])
            answer = client.post("/search", json={"like": [1, 2], "unlike": [3]}, params={"mode": "es", "k": 12}).json()
    features = UnitEncoder().encode_many([drawing(seed) for seed in range(12)]).features.astype(np.float64)
    combined = (features[0] + features[1]) / 2 - UNLIKE_FRACTION * features[2]
    combined /= np.linalg.norm(combined)
    found = [match["distance"] for match in answer["results"]]
    assert found == pytest.approx(np.sort(np.linalg.norm(features - combined, axis=1)).tolist(), abs=1e-5)


@pytest.mark.parametrize("uploads", [1, 2])
def test_search_that_a_model_switch_interrupts_reads_its_uploads_again(
    truth: Truth, monkeypatch: pytest.MonkeyPatch, uploads: int
) -> None:
    files = [("image", image(seed)) for seed in (3, 57)[:uploads]]
    undisturbed = search(truth, files=files)["results"]
    synced = IndexSync.synced_index
    interrupted: list[bool] = []

    def switched_once(index_sync: IndexSync) -> Index:
        if not interrupted:
            interrupted.append(True)
            raise ModelSwitchedError(index_sync._index_version_id)
        return synced(index_sync)

    monkeypatch.setattr(IndexSync, "synced_index", switched_once)
    assert search(truth, files=files)["results"] == undisturbed
    assert interrupted


def test_warnings_name_the_file(client: TestClient) -> None:
    add_images(client, IMAGE)
    cut = encoded(drawing(1).resize((64, 64)), "JPEG")[:-2]
    files = [("image", ("cut.jpg", cut)), ("image", ("good.png", random_image(2)))]
    warnings = client.post("/search", files=files).json()["warnings"]
    assert [warning.startswith('"cut.jpg": ') for warning in warnings] == [True]


# -------------------------------------------------------------------------------------------------- bad input


def test_key_in_another_unicode_form_is_found(client: TestClient) -> None:
    items = add_images(client, IMAGE, random_image(2), metadata=[{"key": "käse"}, {"key": "17"}])
    for text, at in (("ka\u0308se", 0), ("key:17", 1)):
        answer = client.post("/search", params={"like": text, "k": 1}).json()
        assert answer["results"][0]["id"] == items[at]["id"]


def test_form_parts_without_file_names_are_files(truth: Truth) -> None:
    answer = post(
        truth.client, "/search", ('name="image"', image(3)), ('name="image"', image(57)), ("name=unlike", b"key 20")
    )
    body = {"like": ["key 3", "key 57"], "unlike": ["key 20"]}
    assert answer.json()["results"] == search(truth, json=body)["results"]


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "IMAGE/*; q=1", "application/octet-stream"])
def test_image_as_the_body_gives_the_result_of_the_form(truth: Truth, media_type: str) -> None:
    headers, parameters = {"Content-Type": media_type}, {"k": 5, "unlike": "key 20", "explain": True}
    found = search(truth, parameters=parameters, content=image(3), headers=headers)
    assert found["results"] == search(truth, parameters=parameters, files={"image": image(3)})["results"]


def test_json_and_form_are_described(client: TestClient) -> None:
    schema: dict[str, Any] = client.get("/openapi.json").json()
    content = schema["paths"]["/search"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "application/json", "image/*"}
    assert set(content["application/json"]["schema"]["properties"]) == {"like", "unlike", "weights"}
    example = content["application/json"]["schema"]["example"]
    assert set(json.loads(json.dumps(example))) == {"like", "unlike", "weights"}
    assert content["multipart/form-data"]["encoding"]["like"] == {"style": "form", "explode": True}
