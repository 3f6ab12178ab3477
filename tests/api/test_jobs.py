"""`POST /jobs`: archives added in the background."""

import json
import tarfile
from collections.abc import Callable, Mapping

import pytest
from fastapi.testclient import TestClient

from app.api.routes import job_events
from app.api.routes import jobs as api
from app.catalogue.embedded import free_space as room
from app.settings import Settings
from models.data.left_out import NOT_IMAGES
from tests.api.job_helpers import (
    IngestGate,
    counts,
    job,
    keys,
    open_client,
    remaining_files,
    sample_images,
    send_archive,
    wait_for_job,
    wait_until_ended,
)
from tests.crash.ledger import numbered_image
from tests.images import encoded, every_format, gradient
from tests.ingest.archives import gzipped, tar_of, tarred, zipped


@pytest.mark.parametrize("pack", [zipped, tarred, gzipped])
@pytest.mark.parametrize("form", [True, False], ids=["form", "body"])
def test_job_adds_the_images_of_an_archive(
    client: TestClient, settings: Settings, pack: Callable[[Mapping[str, bytes]], bytes], form: bool
) -> None:
    data = pack({**sample_images(150), "notes.txt": b"none"})
    if form:
        answer = client.post("/jobs", files={"archive": ("pictures.zip", data)})
        assert answer.status_code == 202, answer.text
        job_id = int(answer.json()["id"])
    else:
        job_id = send_archive(client, data)
    now = wait_until_ended(client, job_id)
    assert (now["state"], now["error"], now["size_bytes"]) == ("done", None, len(data))
    assert counts(now) == (150, 150, 150, 0, 0, 0)
    assert now["left_out"] == {NOT_IMAGES: {"count": 1, "names": ["notes.txt"]}}
    assert sorted(keys(client)) == list(sample_images(150))
    found = client.post("/search", files={"image": numbered_image(7)}).json()["results"][0]
    assert (found["key"], found["label"], found["distance"]) == ("folder/0007.png", "folder", 0)
    assert remaining_files(settings) == []


def test_rejected_entries_are_listed_with_their_reasons(client: TestClient) -> None:
    table = "file,key,price\none.png,sku-1,3\ngone.png,sku-2,4\n"
    archive = {
        "one.png": numbered_image(1),
        "broken.jpg": b"not a picture",
        "metadata.csv": table.encode(),
        "k" * 600 + ".png": b"",
    }
    now = wait_until_ended(client, send_archive(client, zipped(archive)))
    assert counts(now) == (4, 4, 1, 0, 0, 3)
    reasons = {item["name"][:10]: item["reason"] for item in now["rejections"]}
    assert "not in a supported image format" in reasons["broken.jpg"]
    assert "longer than 512" in reasons["k" * 10]
    assert reasons["line 3 of "] == "The archive has no file gone.png."
    (stored,) = client.get("/images").json()["items"]
    assert (stored["key"], stored["metadata"]) == ("sku-1", {"price": 3})


def test_archive_without_images_fails_and_names_what_it_holds(client: TestClient) -> None:
    archive = zipped({"notes.txt": b"none", "deep/a.psd": b"none", "metadata.csv": b"file\n"})
    now = wait_until_ended(client, send_archive(client, archive))
    assert (now["state"], counts(now)) == ("failed", (0, 0, 0, 0, 0, 0))
    assert now["left_out"] == {NOT_IMAGES: {"count": 2, "names": ["notes.txt", "deep/a.psd"]}}
    assert now["error"].startswith(f"Nothing to index. {NOT_IMAGES}: 2 (notes.txt, deep/a.psd). Names of images end")
    assert wait_until_ended(client, send_archive(client, zipped({})))["error"].startswith(
        "Nothing to index. There are no files."
    )


def test_every_suffix_of_an_image_is_an_entry(client: TestClient) -> None:
    files = every_format(gradient())
    archive = {
        **{f"{suffix}.{suffix}": files["JPEG"] + suffix.encode() for suffix in ("jpg", "jpeg", "jpe", "jfif", "JFIF")},
        **{f"{suffix}.{suffix}": files["HEIF"] + suffix.encode() for suffix in ("heic", "heif", "hif", "HIF")},
    }
    now = wait_until_ended(client, send_archive(client, tarred(archive)))
    assert (counts(now), now["left_out"]) == ((9, 9, 9, 0, 0, 0), {})


def test_jpeg_without_its_end_is_added_with_a_warning(client: TestClient) -> None:
    whole = encoded(gradient(111, 77))
    archive = {"a/whole.jpg": whole, "a/shorter.jpg": whole[:-2], "a/cut.jpg": whole[:-60]}
    now = wait_until_ended(client, send_archive(client, zipped(archive)))
    assert counts(now) == (3, 3, 2, 0, 0, 1)
    (warning,) = now["warnings"]
    assert (warning["name"], warning["key"]) == ("a/shorter.jpg", "a/shorter.jpg")
    assert warning["warning"].startswith("The last bytes of the JPEG are missing.")
    assert [item["key"] for item in now["rejections"]] == ["a/cut.jpg"]
    found = client.post("/search", files={"image": whole[:-2]}).json()
    assert [match["distance"] for match in found["results"][:2]] == [0, 0]
    assert found["warnings"] == [warning["warning"]]
    assert client.post("/search", files={"image": whole}).json()["warnings"] == []
    assert client.post("/search", files={"image": whole[:-60]}).json()["code"] == "image_damaged"


def test_added_jpeg_without_its_end_has_a_warning_in_its_item(client: TestClient) -> None:
    whole = encoded(gradient(111, 77))
    files = [("images", data) for data in (whole, whole[:-1], whole[:-60])]
    items = client.post("/index", files=files).json()["items"]
    assert [item["status"] for item in items] == ["created", "created", "rejected"]
    assert [len(item["warnings"]) for item in items] == [0, 1, 0]
    # The bytes are stored already, so they are not decoded again.
    (again,) = client.post("/index", files=[("images", whole[:-1])]).json()["items"]
    assert (again["status"], again["warnings"]) == ("unchanged", [])


def test_repeated_archive_changes_nothing(client: TestClient) -> None:
    wait_until_ended(client, send_archive(client, zipped(sample_images(70))))
    now = wait_until_ended(client, send_archive(client, gzipped(sample_images(70))))
    assert counts(now) == (70, 70, 0, 0, 70, 0)


def test_jobs_are_listed_latest_first(client: TestClient) -> None:
    ids = [send_archive(client, zipped({f"{at}.png": numbered_image(at)})) for at in range(3)]
    for job_id in ids:
        wait_until_ended(client, job_id)
    page = client.get("/jobs", params={"limit": 2}).json()
    assert [item["id"] for item in page["items"]] == ids[:0:-1]
    rest = client.get("/jobs", params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert ([item["id"] for item in rest["items"]], rest["next_cursor"]) == (ids[:1], None)


def test_event_stream_reports_progress_until_the_job_ends(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_events, "POLL_INTERVAL_S", 0.01)
    job_id = send_archive(client, zipped(sample_images(100)))
    with client.stream("GET", f"/jobs/{job_id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")]
    assert events[-1]["state"] == "done"
    assert [event["processed"] for event in events] == sorted(one["processed"] for one in events)
    assert client.get("/jobs/99/events").status_code == 404


def test_idle_event_stream_is_kept_open_with_comments(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi.routing._PING_INTERVAL", 0.01)
    monkeypatch.setattr(job_events, "POLL_INTERVAL_S", 0.3)
    gate = IngestGate(monkeypatch)
    job_id = send_archive(client, zipped(sample_images(1)))
    wait_for_job(client, job_id, lambda _: gate.calls > 0)
    gate.open.set()
    with client.stream("GET", f"/jobs/{job_id}/events") as answer:
        assert answer.headers["cache-control"] == "no-cache"
        comments = [line for line in answer.iter_lines() if line.startswith(":")]
    assert comments


@pytest.mark.parametrize(
    ("content", "headers", "reason"),
    [
        (b"", {}, "neither a zip nor a tar"),
        (b"not an archive", {}, "neither a zip nor a tar"),
        (b"", {"Content-Type": "multipart/form-data"}, "no boundary"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, "cannot be read from the form"),
        (b"--b\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, "ends too soon"),
        (
            b"--b--\r\n",
            {"Content-Type": "multipart/form-data; boundary=b"},
            "is missing",
        ),
    ],
)
def test_invalid_archive_returns_422_and_creates_no_job(
    client: TestClient, settings: Settings, content: bytes, headers: dict[str, str], reason: str
) -> None:
    answer = client.post("/jobs", content=content, headers=headers)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["archive"]
    assert reason in answer.json()["detail"]
    assert remaining_files(settings) == []
    assert client.get("/jobs").json()["items"] == []


def test_form_of_a_job_with_another_field_returns_422(client: TestClient, settings: Settings) -> None:
    archive = ("archive", ("a.zip", zipped(sample_images(1))))
    for name, advice in (("label", "fields are `archive`"), ("file", "Did you mean `archive`?")):
        other = (name, ("a.zip", b"x"))
        for files in ([archive, other], [other, archive]):
            answer = client.post("/jobs", files=files)
            assert answer.status_code == 422
            assert [error["field"] for error in answer.json()["errors"]] == [name]
            assert advice in answer.json()["detail"]
    twice = client.post("/jobs", files=[archive, archive])
    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (422, "archive")
    unknown = client.post("/jobs", params={"label": "boots"}, content=zipped(sample_images(1)))
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "label")
    assert (client.get("/jobs").json()["items"], remaining_files(settings)) == ([], [])


def test_unknown_job_returns_404(client: TestClient) -> None:
    for answer in (client.get("/jobs/7"), client.post("/jobs/7/cancel"), client.get("/jobs/7/events")):
        assert (answer.status_code, answer.json()["detail"]) == (404, "There is no job 7 in the catalogue.")
    assert client.get("/jobs/0").status_code == 422


def test_archives_have_their_own_size_limit(settings: Settings) -> None:
    archive = zipped(sample_images(10))
    with open_client(settings, max_request_bytes=1000, max_archive_bytes=len(archive)) as client:
        assert wait_until_ended(client, send_archive(client, archive))["state"] == "done"
        for content in (archive + b"x", iter([archive, b"x"])):
            answer = client.post("/jobs", content=content)
            assert answer.status_code == 413, answer.text
        assert client.post("/index", files={"images": bytes(2000)}).status_code == 413
        assert remaining_files(settings) == []


def test_upload_returns_503_before_the_disk_is_full(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped({"a.png": bytes(100_000)}, 0)
    with monkeypatch.context() as patched:
        least = room.min_free_bytes(settings.data_dir)
        patched.setattr(room, "free_bytes", lambda _: least + 1000)
        answer = client.post("/jobs", content=archive)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "The disk is full" in answer.text
        assert client.post("/jobs", content=iter([archive])).status_code == 503, "without a declared size"
    assert remaining_files(settings) == []
    assert wait_until_ended(client, send_archive(client, archive))["state"] == "done"


def test_archive_with_too_many_entries_fails_before_any_image_is_added(settings: Settings) -> None:
    with open_client(settings, max_archive_entries=5) as client:
        now = wait_until_ended(client, send_archive(client, gzipped(sample_images(6))))
        assert (now["state"], now["processed"]) == ("failed", 0)
        assert "more than 5 files" in now["error"]
        assert keys(client) == []
        assert remaining_files(settings) == []


def test_cancelling_a_job_is_idempotent(
    client: TestClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = IngestGate(monkeypatch)
    job_id = send_archive(client, zipped(sample_images(1000)))
    wait_for_job(client, job_id, lambda _: gate.calls > 0)
    first, second = (client.post(f"/jobs/{job_id}/cancel") for _ in range(2))
    assert (first.status_code, first.json()["state"]) == (200, "cancelled")
    assert (second.status_code, second.json()) == (200, first.json())
    gate.open.set()
    assert remaining_files(settings) == []
    # The next job starts when this one has stopped.
    done = wait_until_ended(client, send_archive(client, zipped({"another.png": numbered_image(5000)})))
    now = job(client, job_id)
    assert now["state"] == "cancelled"
    assert 0 < now["created"] < 1000, "only images in progress were added"
    assert len(keys(client)) == now["created"] + 1
    assert client.post(f"/jobs/{done['id']}/cancel").json()["state"] == "done", "a finished job stays done"


def test_event_stream_above_the_limit_returns_503(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = send_archive(client, zipped(sample_images(1)))
    monkeypatch.setattr(api, "LIMITS", {api.EVENT_STREAMS: 0})
    assert client.get(f"/jobs/{job_id}/events").status_code == 503
    assert client.get(f"/jobs/{job_id}").status_code == 200


def test_archives_of_other_systems_are_added_by_a_job(client: TestClient) -> None:
    files = {
        "shop\\boots\\été.png": numbered_image(1),
        "shop\\__MACOSX\\._1.png": b"none",
        "shop\\.cache\\2.png": b"none",
        "shop\\Metadata.csv": "File;Key;Price\r\nboots\\été.png;e-1;89,5\r\n;;\r\n".encode("utf-16"),
    }
    now = wait_until_ended(client, send_archive(client, zipped(files)))
    assert (now["state"], counts(now)) == ("done", (1, 1, 1, 0, 0, 0))
    (image,) = client.get("/images").json()["items"]
    assert (image["key"], image["metadata"]) == ("e-1", {"Price": 89.5})
    assert now["left_out"] == {
        "Images in system folders left out": {"count": 1, "names": ["shop/__MACOSX"]},
        "Images in hidden folders left out": {"count": 1, "names": ["shop/.cache"]},
    }
    assert client.get("/jobs").json()["items"][0]["left_out"] == now["left_out"]


def test_links_of_a_tar_are_added_by_a_job(client: TestClient) -> None:
    links = [("h/two.png", tarfile.LNKTYPE, "h/one.png"), ("h/three.png", tarfile.SYMTYPE, "/etc/hostname")]
    now = wait_until_ended(client, send_archive(client, tar_of({"h/one.png": numbered_image(1)}, links)))
    assert counts(now) == (3, 3, 2, 0, 0, 1)
    assert sorted(keys(client)) == ["h/one.png", "h/two.png"]
    assert [one["reason"] for one in now["rejections"]] == [
        "The symbolic link leads outside the archive: /etc/hostname."
    ]


def test_lone_surrogates_and_digits_reject_their_rows_in_a_job(client: TestClient) -> None:
    rows = ['{"file": "1.png", "key": "before"}', '{"file": "2.png", "key": "emoji \\ud83d"}']
    rows += ['{"file": "3.png", "n": ' + "9" * 5000 + "}", '{"file": "4.png", "key": "after"}']
    images = {f"{at}.png": numbered_image(at) for at in range(1, 5)}
    archive = zipped({"metadata.jsonl": "\n".join(rows).encode(), **images})
    now = wait_until_ended(client, send_archive(client, archive))
    # The file of a row that is not JSON is unknown, so it is added by its path.
    assert (now["state"], sorted(keys(client))) == ("done", ["3.png", "after", "before"])
    assert sorted(one["reason"].split(":")[0] for one in now["rejections"]) == [
        "Not valid JSON",
        "The key cannot be stored",
    ]


def test_job_counts_or_skips_files_that_are_there_under_other_keys(client: TestClient) -> None:
    wait_until_ended(client, send_archive(client, zipped(sample_images(3))))
    table = {"metadata.csv": b"file,key\nfolder/0000.png,sku-1\nfolder/0001.png,sku-2\n"}
    again = zipped({**sample_images(4), **table})
    answer = client.post("/jobs?on_duplicate=skip", content=again)
    assert (answer.status_code, answer.json()["on_duplicate"]) == (202, "skip")
    now = wait_until_ended(client, answer.json()["id"])
    assert (now["skipped"], now["duplicates"], now["created"], now["unchanged"]) == (2, 0, 1, 1)
    now = wait_until_ended(client, send_archive(client, again))
    assert (now["skipped"], now["duplicates"], now["created"], now["unchanged"]) == (0, 2, 2, 2)
    assert client.post("/jobs?on_duplicate=no", content=again).status_code == 422
