"""Both clients against a real server: every call, and the same results."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from lookalike_client import UNCHANGED, AsyncLookalike, Lookalike, NewImage, ProblemError
from PIL import Image

from tests.images import encoded, gradient
from tests.ingest.archives import zipped


@pytest.fixture(scope="module")
def catalogue(server_url: str) -> Iterator[Lookalike]:
    with Lookalike(server_url) as client:
        yield client


def patches(seed: int) -> Image.Image:
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(colours).resize((64, 64), Image.Resampling.NEAREST)


def drawing(seed: int) -> bytes:
    return encoded(patches(seed), "PNG")


def test_added_image_is_found_updated_and_deleted(catalogue: Lookalike) -> None:
    new = NewImage(drawing(1), "client-1", "patches", {"price": 3, "tags": ["a"]})
    (added,) = catalogue.add([new])
    assert (added.key, added.status, added.error) == ("client-1", "created", None)
    assert added.id is not None
    assert catalogue.add([new])[0].status == "unchanged"
    picture = catalogue.get(added.id)
    assert (picture.key, picture.label, picture.metadata) == ("client-1", "patches", {"price": 3, "tags": ["a"]})
    assert picture.created_at.tzinfo is not None
    assert catalogue.original(added.id) == drawing(1)
    assert catalogue.thumbnail(added.id).startswith(b"\xff\xd8")
    described = catalogue.update(added.id, metadata={"price": None, "size": 4})
    assert (described.label, described.metadata) == ("patches", {"tags": ["a"], "size": 4})
    assert catalogue.update(added.id, label=UNCHANGED).label == "patches"
    assert catalogue.update(added.id, label=None).label is None
    catalogue.delete(added.id)
    with pytest.raises(ProblemError) as gone:
        catalogue.get(added.id)
    assert gone.value.status == 404


def test_images_may_be_paths_bytes_or_pillows(catalogue: Lookalike, tmp_path: Path) -> None:
    (added,) = catalogue.add([NewImage(patches(2), "client-2")])
    path = tmp_path / "picture.png"
    path.write_bytes(drawing(2))
    found = [catalogue.search(picture, k=1).matches[0] for picture in (path, str(path), drawing(2), patches(2))]
    assert {(match.id, match.distance) for match in found} == {(added.id, 0.0)}
    catalogue.delete(added.id or 0)


def test_search_takes_every_option(catalogue: Lookalike) -> None:
    answer = catalogue.search(
        gradient(200, 100),
        k=3,
        mode="hds",
        pool=40,
        radius=128,
        label="t-shirt",
        filter={"label": {"$in": ["t-shirt", "other"]}},
        group_by="key",
        crop=(10, 10, 100, 80),
        explain=True,
    )
    assert answer.mode == "hds"
    assert answer.pool_size <= 40
    assert 0 < len(answer.matches) <= 3
    assert {match.label for match in answer.matches} == {"t-shirt"}
    assert all(match.explanation is not None and match.explanation.code for match in answer.matches)
    assert answer.timings_ms["total"] > 0


def test_search_with_several_examples(catalogue: Lookalike, tmp_path: Path) -> None:
    one, other, away, *_ = catalogue.list()
    path = tmp_path / "one.jpg"
    path.write_bytes(catalogue.original(one.id))
    by_id = catalogue.search(like=[one.id, other.key], unlike=[away.id], weights={"like": [2, 1]}, k=20)
    mixed = catalogue.search(path, like=[other.id], unlike=[away.key], weights={"image": [2], "like": [1]}, k=20)
    assert mixed.matches == by_id.matches
    assert {one.id, other.id} <= {match.id for match in by_id.matches}
    assert catalogue.search(like=[one.id]).matches == catalogue.similar(one.id).matches
    with pytest.raises(ProblemError) as invalid:
        catalogue.search(like=[path, b"not an image", 10**9, "no such key"])
    assert {error.field for error in invalid.value.errors} == {"image.1", "like.0", "like.1"}


def test_batch_search_returns_one_item_per_image_and_an_error_for_an_unusable_one(catalogue: Lookalike) -> None:
    items = catalogue.search_many([gradient(), b"not a picture", *[gradient(30 + at) for at in range(32)]], k=2)
    assert len(items) == 34
    assert items[1].response is None
    assert "not in a supported image format" in (items[1].error or "")
    assert all(item.response is not None and len(item.response.matches) == 2 for item in items[:1] + items[2:])


def test_similar_starts_with_the_image_itself(catalogue: Lookalike) -> None:
    first = next(catalogue.list())
    answer = catalogue.similar(first.id, k=2)
    assert answer.matches[0].id == first.id


def test_duplicates_of_one_image_and_of_the_catalogue(catalogue: Lookalike) -> None:
    image = patches(77)
    one, copy = catalogue.add([NewImage(image, key="one-77"), NewImage(encoded(image, "BMP"), key="copy-77")])
    assert one.id is not None
    assert [match.key for match in catalogue.duplicates(one.id)] == ["copy-77"]
    assert "copy-77" not in [match.key for match in catalogue.duplicates(one.id, kind="near")]
    page = catalogue.duplicate_page(cursor=str(one.id - 1), limit=2)
    assert page.kind == "exact"
    (group,) = [group for group in page.groups if group.image.key == "one-77"]
    assert [match.id for match in group.duplicates] == [copy.id]
    assert group.complete
    groups = list(catalogue.duplicate_groups())
    assert len([group for group in groups if group.image.key == "one-77"]) == 1
    oldest = [group.image.id for group in groups]
    assert oldest == sorted(set(oldest))
    assert all(one.distance == 0 for group in catalogue.duplicate_groups(max_distance=0.0) for one in group.duplicates)
    catalogue.delete_images(2, keys=["one-77", "copy-77"])


def test_trash_yields_all_pages(catalogue: Lookalike) -> None:
    added = catalogue.add([NewImage(patches(90 + number), f"trash-{number}") for number in range(3)])
    deletion = catalogue.delete_images(3, ids=[one.id for one in added if one.id is not None])
    assert len(catalogue.trash_page(limit=2).items) == 2
    assert {one.key for one in catalogue.trash(deletion_id=deletion.deletion_id)} == {one.key for one in added}
    listed = [one.id for one in catalogue.trash()]
    assert len(listed) == len(set(listed)) >= 3


def test_duplicates_are_marked_as_distinct_and_merged(catalogue: Lookalike) -> None:
    image = patches(78)
    one, copy = catalogue.add(
        [NewImage(image, "one-78", None, {"size": 4}), NewImage(encoded(image, "BMP"), "copy-78", "mug", {"price": 3})]
    )
    assert one.id is not None
    assert copy.id is not None
    assert catalogue.mark_distinct([one.id, copy.id]) == 1
    assert catalogue.duplicates(one.id) == ()
    assert catalogue.unmark_distinct([one.id, copy.id]) == 1
    assert [match.id for match in catalogue.duplicates(one.id)] == [copy.id]
    merged = catalogue.merge_duplicates(one.id, [copy.id])
    assert (merged.added.label, merged.added.metadata, merged.deleted) == ("mug", {"price": 3}, 1)
    assert merged.image == catalogue.get(one.id)
    assert merged.deletion_id is not None
    with pytest.raises(ProblemError) as gone:
        catalogue.merge_duplicates(one.id, [copy.id])
    assert gone.value.status == 409
    catalogue.delete(one.id)


def test_list_yields_all_pages(catalogue: Lookalike, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = list(catalogue.list())
    assert len(everything) == catalogue.stats().images
    assert [picture.id for picture in everything] == sorted({picture.id for picture in everything})
    page = catalogue.page(limit=7)
    assert (len(page.items), page.next_cursor is None) == (7, False)
    boots = list(catalogue.list(filter={"label": "t-shirt"}))
    assert {picture.label for picture in boots} == {"t-shirt"}
    assert catalogue.page(label="unknown").warnings


def test_lists_facets_and_searches_take_words_and_an_order(catalogue: Lookalike) -> None:
    everything = list(catalogue.list())
    assert catalogue.page(limit=7).total == len(everything)
    shirts = list(catalogue.list(text="t-shirt", sort="-key"))
    assert shirts
    assert [picture.key for picture in shirts] == sorted((picture.key for picture in shirts), reverse=True)
    assert {picture.id for picture in shirts} == {picture.id for picture in everything if picture.label == "t-shirt"}
    assert sum(count.count for count in catalogue.facets(text="t-shirt").labels) == len(shirts)
    matches = catalogue.similar(shirts[0].id, text="t-shirt", sort="key", k=5).matches
    assert [match.key for match in matches] == sorted(match.key for match in matches)
    assert {match.label for match in matches} == {"t-shirt"}


def test_facets_and_stats_are_typed(catalogue: Lookalike) -> None:
    facets = catalogue.facets()
    assert any(count.value == "t-shirt" and count.count > 0 for count in facets.labels)
    assert all(field.type and field.count for field in facets.fields)
    stats = catalogue.stats()
    assert stats.model.bits % 8 == 0
    assert stats.bytes["originals"] > 0


def test_problem_has_the_invalid_fields(catalogue: Lookalike) -> None:
    with pytest.raises(ProblemError) as refused:
        catalogue.search(drawing(1), k=0)
    assert refused.value.status == 422
    assert [error.field for error in refused.value.errors] == ["k"]
    assert "k:" in str(refused.value)
    with pytest.raises(ProblemError, match="not in a supported image format"):
        catalogue.search(b"not a picture")
    with pytest.raises(ProblemError) as missing:
        catalogue.delete(2**40)
    assert missing.value.status == 404


def test_rejected_image_does_not_affect_the_others(catalogue: Lookalike) -> None:
    first, second = catalogue.add([NewImage(b"not a picture", "client-3"), NewImage(drawing(3), "client-4")])
    assert (first.status, first.id) == ("rejected", None)
    assert "not in a supported image format" in (first.error or "")
    assert second.status == "created"
    catalogue.delete(second.id or 0)


def test_images_are_found_by_key_and_deleted_together(catalogue: Lookalike) -> None:
    keys = [*(f"client-delete-{at}" for at in range(3)), "client-delete-\N{GRINNING FACE}" * 30]
    added = catalogue.add(NewImage(drawing(20 + at), key, "gone") for at, key in enumerate(keys))
    assert [image.key for image in catalogue.find(["unknown", *reversed(keys)])] == keys
    (skipped,) = catalogue.add([NewImage(drawing(20), "client-other")], on_duplicate="skip")
    assert (skipped.status, skipped.duplicate_of) == ("skipped", keys[0])
    assert catalogue.delete_many([added[0].id or 0, 2**40]) == 1
    assert catalogue.delete_matching(label="gone", filter={"key": {"$ne": keys[1]}}) == 2
    assert catalogue.delete_matching(label="gone") == 1
    assert catalogue.find(keys) == []


def test_more_images_than_a_request_holds_are_added_in_order(catalogue: Lookalike) -> None:
    added = catalogue.add(NewImage(drawing(at % 5), f"client-many-{at}") for at in range(60))
    assert [item.key for item in added] == [f"client-many-{at}" for at in range(60)]
    for item in added:
        catalogue.delete(item.id or 0)


def test_uploaded_archive_becomes_a_job(catalogue: Lookalike, tmp_path: Path) -> None:
    path = tmp_path / "pictures.zip"
    path.write_bytes(zipped({"client-job.png": drawing(11), "client-broken.png": b"not a picture"}))
    for archive in (path, path.read_bytes()):
        job = catalogue.upload_archive(archive)
        while job.state == "running":
            time.sleep(0.1)
            job = catalogue.get_job(job.id)
        assert (job.state, job.total, job.processed, job.created + job.unchanged, job.rejected) == ("done", 2, 2, 1, 1)
        assert [one.key for one in job.rejections] == ["client-broken.png"]
    assert catalogue.cancel_job(job.id).state == "done"
    assert [one.id for one in catalogue.list_jobs(limit=1).items] == [job.id]
    with pytest.raises(ProblemError, match="neither a zip"):
        catalogue.upload_archive(b"not an archive")
    found = catalogue.search(drawing(11), k=1).matches[0]
    assert found.key == "client-job.png"
    catalogue.delete(found.id)


def test_both_clients_give_the_same_results(server_url: str, catalogue: Lookalike, tmp_path: Path) -> None:
    (tmp_path / "empty.zip").write_bytes(zipped({}))

    async def asked() -> tuple[object, ...]:
        async with AsyncLookalike(server_url) as client:
            added = await client.add([NewImage(drawing(7), "client-7")])
            answer = await client.search(drawing(7), k=1)
            listed = [picture.key async for picture in client.list()]
            assert [one.id async for one in client.trash()] == [one.id for one in catalogue.trash()]
            groups = [group async for group in client.duplicate_groups()]
            assert groups == list(catalogue.duplicate_groups())
            with pytest.raises(ProblemError):
                await client.get(2**40)
            assert (await client.upload_archive(tmp_path / "empty.zip")).size_bytes == 22
            await client.delete(added[0].id or 0)
            return added[0].id, answer.matches[0].id, listed[-1], (await client.stats()).model

    first, found, listed, model = asyncio.run(asked())
    assert first == found
    assert listed == "client-7"
    assert model == catalogue.stats().model


def test_whole_numbers_of_facets_are_exact_and_found_by_a_filter(catalogue: Lookalike) -> None:
    years = {f"client-year-{year}": year for year in (2020, 9007199254740992, 9007199254740993)}
    added = catalogue.add(
        [
            NewImage(drawing(70 + at), key, metadata={"client_year": year})
            for at, (key, year) in enumerate(years.items())
        ]
    )
    found = next(field for field in catalogue.facets().fields if field.name == "client_year")
    assert [(count.value, type(count.value)) for count in found.values] == [(year, int) for year in years.values()]
    assert (found.min, found.max) == (2020, 9007199254740993)
    for key, year in years.items():
        (image,) = catalogue.page(filter={"client_year": year}).items
        assert (image.key, image.metadata) == (key, {"client_year": year})
    for item in added:
        catalogue.delete(item.id or 0)
