"""The clients against the real server: every call, and the same answers from both."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest
from lookalike_client import UNCHANGED, AsyncLookalike, Lookalike, NewPicture, ProblemError
from lookalike_client.methods import Operations
from PIL import Image

from app.errors import InvalidInputError
from tests.ingest.archives import zipped
from tests.pictures import encoded, gradient


@pytest.fixture(scope="module")
def catalogue(server_url: str) -> Iterator[Lookalike]:
    with Lookalike(server_url) as client:
        yield client


def patches(seed: int) -> Image.Image:
    colours = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(colours).resize((64, 64), Image.Resampling.NEAREST)


def drawing(seed: int) -> bytes:
    return encoded(patches(seed), "PNG")


def test_what_is_added_is_found_described_and_deleted(catalogue: Lookalike) -> None:
    new = NewPicture(drawing(1), "client-1", "patches", {"price": 3, "tags": ["a"]})
    (added,) = catalogue.add([new])
    assert (added.key, added.status, added.error) == ("client-1", "created", None)
    assert added.id is not None
    assert catalogue.add([new])[0].status == "unchanged"
    picture = catalogue.get(added.id)
    assert (picture.key, picture.label, picture.metadata) == ("client-1", "patches", {"price": 3, "tags": ["a"]})
    assert picture.created_at.tzinfo is not None
    assert catalogue.original(added.id) == drawing(1)
    assert catalogue.thumbnail(added.id).startswith(b"\xff\xd8")
    described = catalogue.describe(added.id, metadata={"price": None, "size": 4})
    assert (described.label, described.metadata) == ("patches", {"tags": ["a"], "size": 4})
    assert catalogue.describe(added.id, label=UNCHANGED).label == "patches"
    assert catalogue.describe(added.id, label=None).label is None
    catalogue.delete(added.id)
    with pytest.raises(ProblemError) as gone:
        catalogue.get(added.id)
    assert gone.value.status == 404


def test_pictures_may_be_paths_bytes_or_pillows(catalogue: Lookalike, tmp_path: Path) -> None:
    (added,) = catalogue.add([NewPicture(patches(2), "client-2")])
    path = tmp_path / "picture.png"
    path.write_bytes(drawing(2))
    found = [catalogue.search(picture, k=1).matches[0] for picture in (path, str(path), drawing(2), patches(2))]
    assert {(match.id, match.distance) for match in found} == {(added.id, 0.0)}
    catalogue.delete(added.id or 0)


def test_a_search_says_all_that_it_may_be_told(catalogue: Lookalike) -> None:
    answer = catalogue.search(
        gradient(200, 100),
        k=3,
        mode="hds",
        pool=40,
        radius=128,
        label="t-shirt",
        filter={"label": {"$in": ["t-shirt", "other"]}},
        group="key",
        crop=(10, 10, 100, 80),
        explain=True,
    )
    assert answer.mode == "hds"
    assert answer.pool_size <= 40
    assert 0 < len(answer.matches) <= 3
    assert {match.label for match in answer.matches} == {"t-shirt"}
    assert all(match.explanation is not None and match.explanation.code for match in answer.matches)
    assert answer.timings_ms["total"] > 0


def test_many_searches_cost_few_requests_and_a_bad_one_nothing(catalogue: Lookalike) -> None:
    items = catalogue.search_many([gradient(), b"not a picture", *[gradient(30 + at) for at in range(32)]], k=2)
    assert len(items) == 34
    assert items[1].answer is None
    assert "not a picture" in (items[1].error or "")
    assert all(item.answer is not None and len(item.answer.matches) == 2 for item in items[:1] + items[2:])


def test_similar_begins_with_the_picture_itself(catalogue: Lookalike) -> None:
    first = next(catalogue.list())
    answer = catalogue.similar(first.id, k=2)
    assert answer.matches[0].id == first.id


def test_the_list_goes_through_all_pages(catalogue: Lookalike, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = list(catalogue.list())
    assert len(everything) == catalogue.stats().images
    assert [picture.id for picture in everything] == sorted({picture.id for picture in everything})
    page = catalogue.page(limit=7)
    assert (len(page.items), page.next_cursor is None) == (7, False)
    boots = list(catalogue.list(filter={"label": "t-shirt"}))
    assert {picture.label for picture in boots} == {"t-shirt"}
    assert catalogue.page(label="nobody's").notes


def test_facets_and_stats_are_typed(catalogue: Lookalike) -> None:
    facets = catalogue.facets()
    assert any(count.value == "t-shirt" and count.pictures > 0 for count in facets.labels)
    assert all(field.kind and field.pictures for field in facets.fields)
    stats = catalogue.stats()
    assert stats.model.bits % 8 == 0
    assert stats.bytes["originals"] > 0


def test_a_problem_carries_its_fields(catalogue: Lookalike) -> None:
    with pytest.raises(ProblemError) as refused:
        catalogue.search(drawing(1), k=0)
    assert refused.value.status == 422
    assert [error.field for error in refused.value.errors] == ["k"]
    assert "k:" in str(refused.value)
    with pytest.raises(ProblemError, match="not a picture"):
        catalogue.search(b"not a picture")
    with pytest.raises(ProblemError) as missing:
        catalogue.delete(2**40)
    assert missing.value.status == 404


def test_a_rejected_picture_is_told_beside_the_others(catalogue: Lookalike) -> None:
    first, second = catalogue.add([NewPicture(b"not a picture", "client-3"), NewPicture(drawing(3), "client-4")])
    assert (first.status, first.id) == ("rejected", None)
    assert "not a picture" in (first.error or "")
    assert second.status == "created"
    catalogue.delete(second.id or 0)


def test_more_than_one_request_holds_are_added_in_their_order(catalogue: Lookalike) -> None:
    added = catalogue.add(NewPicture(drawing(at % 5), f"client-many-{at}") for at in range(60))
    assert [item.key for item in added] == [f"client-many-{at}" for at in range(60)]
    for item in added:
        catalogue.delete(item.id or 0)


def test_metadata_cannot_pass_for_the_key_or_the_label(catalogue: Lookalike) -> None:
    with pytest.raises(InvalidInputError, match="key"):
        catalogue.add([NewPicture(drawing(1), "client-5", metadata={"key": "other"})])


def test_an_archive_is_sent_and_followed(catalogue: Lookalike, tmp_path: Path) -> None:
    path = tmp_path / "pictures.zip"
    path.write_bytes(zipped({"client-job.png": drawing(11), "client-broken.png": b"not a picture"}))
    for archive in (path, path.read_bytes()):
        job = catalogue.send_archive(archive)
        while job.state == "running":
            time.sleep(0.1)
            job = catalogue.get_job(job.id)
        assert (job.state, job.total, job.done, job.created + job.unchanged, job.rejected) == ("done", 2, 2, 1, 1)
        assert [one.key for one in job.rejections] == ["client-broken.png"]
    assert catalogue.cancel_job(job.id).state == "done"
    assert [one.id for one in catalogue.list_jobs(limit=1).items] == [job.id]
    with pytest.raises(ProblemError, match="neither a zip"):
        catalogue.send_archive(b"not an archive")
    found = catalogue.search(drawing(11), k=1).matches[0]
    assert found.key == "client-job.png"
    catalogue.delete(found.id)


def test_both_clients_can_do_the_same_and_say_the_same(server_url: str, catalogue: Lookalike, tmp_path: Path) -> None:
    (tmp_path / "empty.zip").write_bytes(zipped({}))

    async def asked() -> tuple[object, ...]:
        async with AsyncLookalike(server_url) as client:
            added = await client.add([NewPicture(drawing(7), "client-7")])
            answer = await client.search(drawing(7), k=1)
            listed = [picture.key async for picture in client.list()]
            with pytest.raises(ProblemError):
                await client.get(2**40)
            assert (await client.send_archive(tmp_path / "empty.zip")).bytes == 22
            await client.delete(added[0].id or 0)
            return added[0].id, answer.matches[0].id, listed[-1], (await client.stats()).model

    first, found, listed, model = asyncio.run(asked())
    assert first == found
    assert listed == "client-7"
    assert model == catalogue.stats().model


def test_every_call_is_there_twice_and_says_what_it_does() -> None:
    names = [name for name in vars(Operations) if not name.startswith("_")]
    assert len(names) >= 12
    for name in names:
        assert vars(Operations)[name].__doc__
        assert getattr(Lookalike, name) is getattr(AsyncLookalike, name)


def test_every_option_of_a_search_is_sent() -> None:
    seen: list[httpx2.QueryParams] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.url.params)
        return httpx2.Response(422, json={"title": "No", "detail": "Not here."})

    with Lookalike(transport=httpx2.MockTransport(answer)) as client, pytest.raises(ProblemError):
        client.search(
            b"x",
            k=3,
            mode="es",
            pool=5,
            radius=0,
            label="a",
            filter={"a": 1},
            min_similarity=0.5,
            group="g",
            crop=(1, 2, 3, 4),
            explain=True,
        )
    sent = {"k": 3, "mode": "es", "pool": 5, "radius": 0, "label": "a", "filter": '{"a": 1}', "min_similarity": 0.5}
    sent |= {"group": "g", "crop": "1,2,3,4", "explain": "true"}
    assert dict(seen[0]) == {name: str(value) for name, value in sent.items()}


def test_a_key_is_shown() -> None:
    seen: list[str | None] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.headers.get("authorization"))
        return httpx2.Response(401, json={"title": "Unauthorized", "detail": "The key is not known here."})

    with Lookalike(key="lk_1_x", transport=httpx2.MockTransport(answer)) as client, pytest.raises(ProblemError) as no:
        client.stats()
    assert seen == ["Bearer lk_1_x"]
    assert (no.value.status, str(no.value)) == (401, "The key is not known here.")
