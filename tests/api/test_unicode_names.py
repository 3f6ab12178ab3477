"""Keys, labels and metadata in any Unicode normalisation form, over HTTP and in migrated catalogues."""

import json
from contextlib import closing
from typing import Any, Literal
from unicodedata import normalize as normalise

import pytest
from alembic import command
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.catalogue.database.migrations import alembic_config, upgrade
from app.catalogue.database.sessions import Database
from app.common.json_values import validate_json
from app.common.unicode_names import nfc_json
from tests.api.test_index import add_images, random_image

FORMS: list[Literal["NFC", "NFD"]] = ["NFC", "NFD"]
Form = Literal["NFC", "NFD"]


def found(client: TestClient, **parameters: str) -> list[str]:
    answer = client.get("/images", params=parameters)
    assert answer.status_code == 200, answer.text
    assert bool(answer.json()["items"]) != bool(answer.json()["warnings"])
    return [item["key"] for item in answer.json()["items"]]


@pytest.mark.parametrize("stored", FORMS)
@pytest.mark.parametrize("asked", FORMS)
def test_labels_fields_and_values_are_found_in_either_form(client: TestClient, stored: Form, asked: Form) -> None:
    about = {"key": "clé", "label": "bébé", "größe": "weiß é", "tags": ["où"]}
    add_images(client, random_image(1), metadata=[json.loads(normalise(stored, json.dumps(about, ensure_ascii=False)))])
    assert found(client, label=normalise(asked, "bébé")) == ["clé"]
    filters: list[dict[str, Any]] = [
        {"label": "bébé"},
        {"key": "clé"},
        {"größe": "weiß é"},
        {"größe": {"$in": ["weiß é"]}},
        {"größe": {"$exists": True}},
        {"tags": "où"},
    ]
    for one in filters:
        assert found(client, filter=normalise(asked, json.dumps(one, ensure_ascii=False))) == ["clé"]
    facets = client.get("/facets", params={"label": normalise(asked, "bébé")}).json()
    assert facets["labels"] == [{"value": "bébé", "count": 1}]
    assert sorted(field["name"] for field in facets["fields"]) == ["größe", "tags"]


def test_same_key_in_both_forms_is_one_image(client: TestClient) -> None:
    (first,) = add_images(client, random_image(1), metadata=[{"key": normalise("NFD", "été.jpg"), "é": 1}])
    assert first["key"] == "été.jpg"
    (again,) = add_images(client, random_image(1), metadata=[{"key": "été.jpg", normalise("NFD", "é"): 1}])
    assert (again["id"], again["status"]) == (first["id"], "unchanged")


def test_patch_replaces_and_removes_fields_in_either_form(client: TestClient) -> None:
    (item,) = add_images(client, random_image(1), metadata=[{"key": "k", "é": 1, "ü": 2}])
    patch = {"label": normalise("NFD", "bébé"), "metadata": {normalise("NFD", "é"): 3, normalise("NFD", "ü"): None}}
    answer = client.patch(f"/images/{item['id']}", json=patch).json()
    assert (answer["label"], answer["metadata"]) == ("bébé", {"é": 3})


def test_groups_are_formed_by_a_field_in_either_form(client: TestClient) -> None:
    about = [{"key": "1", "größe": "é"}, {"key": "2", normalise("NFD", "größe"): normalise("NFD", "é")}]
    add_images(client, random_image(1), random_image(2), metadata=about)
    parameters = {"group_by": normalise("NFD", "größe"), "mode": "es"}
    answer = client.post("/search", files={"image": random_image(1)}, params=parameters)
    assert [match["key"] for match in answer.json()["results"]] == ["1"]


def test_two_fields_that_become_one_are_rejected(client: TestClient) -> None:
    about = json.dumps([{"key": "k", "é": 1, normalise("NFD", "é"): 2}])
    answer = client.post("/index", files={"images": random_image(1)}, data={"metadata": about})
    assert (answer.status_code, "two fields are named 'é'" in answer.text) == (422, True)


def test_length_of_a_key_is_that_of_the_stored_form(client: TestClient) -> None:
    # Each of these characters has no composed form, and becomes two.
    for count, status in ((256, 201), (257, 422)):
        about = json.dumps([{"key": "\u0958" * count, "label": "\u0958" * count}])
        answer = client.post("/index", files={"images": random_image(1)}, data={"metadata": about})
        assert answer.status_code == status, answer.text
    letters = "e\u0301" * 512
    (item,) = add_images(client, random_image(2), metadata=[{"key": letters}])
    assert item["key"] == "é" * 512


def test_catalogue_of_an_earlier_version_is_converted(database_url: str) -> None:
    decomposed = normalise("NFD", '{"é": ["ü\\n\\u0303", {"ö": 1.5}], "n": 9007199254740993}')
    rows: list[dict[str, object]] = [
        {"key": normalise("NFD", "é1"), "label": normalise("NFD", "é"), "metadata": decomposed},
        {"key": normalise("NFD", "é2"), "label": None, "metadata": "{}"},
        {"key": "é2", "label": "plain", "metadata": "{}"},
    ]
    insert = text(
        "INSERT INTO images (key, label, metadata, sha256, media_type, width, height, size_bytes) "
        "VALUES (:key, :label, CAST(:metadata AS jsonb), 'x', 'image/png', 1, 1, 1)"
    )
    with closing(Database(database_url)) as database:
        upgrade(database)
        with database.connection_transaction() as connection:
            command.downgrade(alembic_config(connection), "names")
            connection.execute(insert, rows)
        upgrade(database)
        with database.connection_transaction() as connection:
            converted = connection.execute(text("SELECT key, label, metadata FROM images ORDER BY id")).all()
    assert [tuple(row) for row in converted] == [
        ("é1", "é", {"é": ["ü\n\u0303", {"ö": 1.5}], "n": 9007199254740993}),
        (normalise("NFD", "é2"), None, {}),
        ("é2", "plain", {}),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=10,
)


@given(JSON)
@settings(deadline=None)
def test_normalised_values_are_the_same_for_every_form(value: Any) -> None:
    try:
        validate_json(value)
    except ValueError:
        return
    converted = nfc_json(value)
    assert nfc_json(converted) == converted == nfc_json(_in_form(value))


def _in_form(value: Any) -> Any:
    if isinstance(value, str):
        return normalise("NFD", value)
    if isinstance(value, dict):
        return {normalise("NFD", name): _in_form(child) for name, child in value.items()}
    return [_in_form(child) for child in value] if isinstance(value, list) else value
