"""Unknown, misplaced and repeated parameters and fields return 422 and name the nearest known one."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from app.api.known_parameters import MAX_ERRORS, MAX_NAME, declared_parameters
from app.api.nearest_name import nearest_name
from app.common.json_values import RepeatedNameError, unique_names
from app.main import create_app
from app.settings import Settings
from tests.api.test_index import add_images, random_image
from tests.catalogue.postgres import connect
from tests.conftest import open_with_fake

IMAGE = ("a.png", random_image(0))


@pytest.fixture(scope="module")
def shared(postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A client of a catalogue with two images, which no test changes."""
    with connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE unknown_parameters TEMPLATE {template}")
        settings = Settings(
            data_dir=tmp_path_factory.mktemp("unknown_parameters"),
            database_url=make_url(postgres_url)
            .set(database="unknown_parameters")
            .render_as_string(hide_password=False),
            demo="off",
            auth="off",
            _env_file=None,
        )
        with TestClient(create_app(settings, open_with_fake), raise_server_exceptions=False) as client:
            add_images(
                client, random_image(0), random_image(1), metadata=[{"label": "boots", "price": 3}, {"label": "hats"}]
            )
            yield client
        connection.execute("DROP DATABASE unknown_parameters WITH (FORCE)")


def reason(answer: Response, field: str) -> str:
    """Return why a field is not valid."""
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid_request"
    reasons: dict[str, str] = {error["field"]: error["reason"] for error in problem["errors"]}
    assert f"{field}: {reasons[field]}" in problem["detail"]
    return reasons[field]


NEAREST = {
    "/images": {
        "labels": "label",
        "Label": "label",
        "filters": "filter",
        "where": "filter",
        "top_k": "limit",
        "q": "text",
    },
    "/images/1/similar": {
        "top_k": "k",
        "topk": "k",
        "limit": "k",
        "n": "k",
        "Min-Similarity": "min_similarity",
        "minSimilarity": "min_similarity",
        "threshold": "min_similarity",
        "group": "group_by",
        "order_by": "sort",
        "label[]": "label",
        "modes": "mode",
    },
    "/facets": {"labels": "label", "filtre": "filter"},
    "/duplicates": {"distance": "max_distance", "page": "cursor", "maxdistance": "max_distance", "kinds": "kind"},
    "/images/1/duplicates": {"distance": "max_distance", "threshold": "max_distance"},
    "/jobs": {"offset": "cursor", "per_page": "limit"},
}


@pytest.mark.parametrize(
    ("path", "name", "nearest"),
    [(path, name, nearest) for path, names in NEAREST.items() for name, nearest in names.items()],
)
def test_unknown_query_parameter_names_the_nearest_known_one(
    shared: TestClient, path: str, name: str, nearest: str
) -> None:
    why = reason(shared.get(path, params={name: "1"}), name)
    assert why == f"is not a parameter of this call. Did you mean `{nearest}`?"


def test_unknown_query_parameter_unlike_any_known_one_lists_all(shared: TestClient) -> None:
    why = reason(shared.post("/search?utm=mail", files={"image": IMAGE}), "utm")
    for known in ("k", "mode", "label", "filter", "crop"):
        assert f"`{known}`" in why


@pytest.mark.parametrize(
    "path",
    [
        "/stats",
        "/healthz",
        "/readyz",
        "/metrics",
        "/images/1",
        "/images/1/original",
        "/images/1/thumbnail",
        "/report",
        "/jobs/1/events",
    ],
)
def test_calls_without_parameters_reject_any(shared: TestClient, path: str) -> None:
    assert "has no parameters" in reason(shared.get(path, params={"verbose": "1"}), "verbose")
    if path == "/images/1":
        assert "has no parameters" in reason(shared.delete(path, params={"force": "true"}), "force")
        assert shared.get(path).status_code == 200


def test_page_and_docs_take_any_parameter(shared: TestClient) -> None:
    for path in ("/", "/docs", "/web/app.js", "/openapi.json"):
        assert shared.get(path, params={"id": "1", "utm_source": "mail"}).status_code == 200


def test_repeated_parameter_returns_422(shared: TestClient) -> None:
    assert reason(shared.get("/images?label=boots&label=hats"), "label") == "is given 2 times. Send it once"


def test_every_unknown_parameter_is_listed_up_to_a_limit(shared: TestClient) -> None:
    answer = shared.get("/images", params={f"name-{number}": "" for number in range(MAX_ERRORS + 5)})
    assert len(answer.json()["errors"]) == MAX_ERRORS
    assert reason(shared.get("/images", params={"x" * 1000: "1"}), "x" * MAX_NAME)


@pytest.mark.parametrize("path", ["/search", "/search/batch", "/index"])
def test_unknown_form_field_names_the_nearest_known_one(shared: TestClient, path: str) -> None:
    field = "image" if path == "/search" else "images"
    assert f"Did you mean `{field}`?" in reason(shared.post(path, files={"file": IMAGE}), "file")
    assert f"`{field}`" in reason(shared.post(path, files={field: IMAGE}, data={"zz": "1"}), "zz")
    assert f"`{field}`" in reason(shared.post(path, data={"zz": "1"}), "zz")


def test_form_field_that_is_a_query_parameter_returns_422(shared: TestClient) -> None:
    for sent, parameter in (("k", "k"), ("label", "label"), ("labels", "label"), ("top_k", "k")):
        why = reason(shared.post("/search", files={"image": IMAGE}, data={sent: "1"}), sent)
        assert why.endswith(f"Send it as a query parameter: `/search?{parameter}=…`")


def test_query_parameter_that_is_a_form_field_returns_422(shared: TestClient) -> None:
    answer = shared.post("/index", params={"metadata": "[{}]"}, files={"images": IMAGE})
    assert "Send it in the form" in reason(answer, "metadata")
    assert shared.get("/stats").json()["images"] == 2


def test_field_that_is_not_a_list_given_twice_returns_422(shared: TestClient) -> None:
    answer = shared.post("/search", files=[("image", IMAGE), ("weights", (None, "{}")), ("weights", (None, "{}"))])
    assert reason(answer, "weights") == "is given 2 times. Send it once"


@pytest.mark.parametrize(("sent", "nearest"), [("labels", "label"), ("meta", "metadata")])
def test_unknown_json_field_names_the_nearest_known_one(shared: TestClient, sent: str, nearest: str) -> None:
    assert f"Did you mean `{nearest}`?" in reason(shared.patch("/images/1", json={sent: "x"}), sent)
    assert "Did you mean `key`?" in reason(shared.post("/session", json={"keys": "x"}), "keys")


FILTERS = {
    '{"price": 3, "price": 4}': "price",
    '{"price": {"$gt": 1, "$gt": 2}}': "$gt",
    '{"$or": [{"price": 1}, {"a": 1, "a": 2}]}': "a",
    '{"\\ud800": 1, "\\ud800": 2}': "?",
}


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("path", ["/images", "/facets", "/images/1/similar"])
def test_filter_with_a_repeated_field_returns_422(shared: TestClient, path: str, text: str) -> None:
    why = reason(shared.get(path, params={"filter": text}), "filter")
    assert why.startswith(f"{FILTERS[text]} occurs twice")


@pytest.mark.parametrize("name", ["price", "\\ud800"])
def test_body_with_a_repeated_field_returns_422(shared: TestClient, name: str) -> None:
    patch = f'{{"metadata": {{"{name}": 1, "{name}": 2}}}}'.encode()
    answer = shared.patch("/images/1", content=patch, headers={"Content-Type": "application/json"})
    assert "occurs twice" in answer.json()["detail"]
    metadata = f'[{{"{name}": 1, "{name}": 2}}]'
    answer = shared.post("/index", files={"images": IMAGE}, data={"metadata": metadata})
    assert "occurs twice" in reason(answer, "metadata")
    assert shared.get("/images/1").json()["metadata"] == {"price": 3}


def test_every_call_of_the_api_checks_its_parameters(shared: TestClient) -> None:
    """Try every call of the OpenAPI description with an unknown parameter."""
    app: Any = shared.app
    schema = app.openapi()
    tried = 0
    for path, operations in schema["paths"].items():
        for method in operations:
            target = path.replace("{image_id}", "1").replace("{job_id}", "1")
            if path == "/jobs" and method == "post":
                continue  # its body is an archive, which is read before: tests/api/test_jobs.py
            body = {"label": "x", "key": "x"} if method in ("patch", "post") else None
            answer = shared.request(method, target, params={"no_such": "1"}, json=body)
            assert "no_such" in {error["field"] for error in answer.json().get("errors", [])}, (
                method,
                path,
                answer.text,
            )
            tried += 1
    assert tried > 20


def test_declared_parameters_include_those_of_dependencies(shared: TestClient) -> None:
    app: Any = shared.app
    routes = {route.path: route for route in app.routes}
    declared = declared_parameters(routes["/search"])
    assert set(declared.query) == set(KNOWN)
    assert {name: (field.is_file, field.is_list) for name, field in declared.form.items()} == {
        **dict.fromkeys(("image", "unlike_image"), (True, True)),
        **dict.fromkeys(("like", "unlike"), (False, True)),
        "weights": (False, False),
    }
    assert declared.repeatable == {"like", "unlike"}
    assert declared_parameters(routes["/index"]).form["images"].is_list
    assert not declared_parameters(routes["/index"]).form["metadata"].is_file


KNOWN = (
    *("crop", "k", "mode", "pool", "radius", "asymmetric"),
    *("label", "filter", "text", "min_similarity", "group_by", "explain", "sort"),
    *("like", "unlike"),
)


@given(st.sampled_from(KNOWN), st.integers(0, 20), st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
def test_one_typing_error_in_a_long_name_still_finds_it(name: str, at: int, letter: str) -> None:
    if len(name) < 5:
        return
    at %= len(name)
    for wrong in (name[:at] + letter + name[at:], name[:at] + name[at + 1 :], name[:at] + letter + name[at + 1 :]):
        assert nearest_name(wrong, KNOWN) == name
        assert nearest_name(wrong.upper().replace("_", "-"), KNOWN) == name


@given(st.text(max_size=200))
def test_nearest_name_is_a_known_one_or_none(name: str) -> None:
    assert nearest_name(name, KNOWN) in {None, *KNOWN}


@given(st.dictionaries(st.text(max_size=5), st.integers(), min_size=1, max_size=4), st.data())
def test_any_repeated_name_is_found_wherever_it_is(fields: dict[str, int], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(fields)))
    pairs = [*fields.items(), (name, 0)]
    text = "{" + ", ".join(f"{json.dumps(key)}: {value}" for key, value in pairs) + "}"
    for nested in (text, f"[1, {text}]", f'{{"a b c d e f": {text}}}'):
        with pytest.raises(RepeatedNameError, match="occurs twice"):
            json.loads(nested, object_pairs_hook=unique_names)
    assert json.loads(json.dumps(fields), object_pairs_hook=unique_names) == fields
