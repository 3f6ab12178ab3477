"""Files that the catalogue has under another key: counted when added, left out with `skip`."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.bootstrap import Service
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.file_owners import duplicates_in
from app.ingest.jobs.stop import Stop
from app.ingest.uploads import AddResult, OnDuplicate, Upload
from tests.images import encoded, gradient

ONE, OTHER = (encoded(gradient(20 + at, 20), "PNG") for at in range(2))
BROKEN = b"not a picture"


def add(
    service: Service, *pairs: tuple[str | None, bytes], on_duplicate: OnDuplicate = OnDuplicate.ADD
) -> list[AddResult]:
    return service.ingest.add([Upload(data, key, {}) for key, data in pairs], on_duplicate=on_duplicate)


def skip(service: Service, *pairs: tuple[str | None, bytes]) -> list[AddResult]:
    return add(service, *pairs, on_duplicate=OnDuplicate.SKIP)


def outcomes(added: Sequence[AddResult]) -> list[tuple[str, str | None]]:
    return [(one.status, one.duplicate_of) for one in added]


def stored_keys(service: Service) -> set[str]:
    with service.database.read_session() as session:
        return set(session.scalars(select(Image.key)))


def test_new_key_for_a_known_file_names_the_other_key(service: Service) -> None:
    assert outcomes(add(service, ("a", ONE), ("b", OTHER))) == [("created", None), ("created", None)]
    assert outcomes(add(service, ("c", ONE), ("a", ONE), (None, OTHER))) == [
        ("created", "a"),
        ("unchanged", None),
        ("created", "b"),
    ]


def test_skip_leaves_out_new_keys_for_known_files(service: Service) -> None:
    add(service, ("a", ONE))
    added = skip(service, ("b", ONE), ("c", OTHER), ("a", ONE), ("d", OTHER))
    assert outcomes(added) == [("skipped", "a"), ("created", None), ("unchanged", None), ("skipped", "c")]
    assert [one.id is None for one in added] == [True, False, False, True]
    assert stored_keys(service) == {"a", "c"}


def test_skip_still_replaces_the_file_of_an_existing_key(service: Service) -> None:
    add(service, ("a", ONE), ("b", OTHER))
    assert outcomes(skip(service, ("b", ONE))) == [("updated", None)]
    assert outcomes(skip(service, ("c", OTHER))) == [("created", None)], "no key has that file any more"


def test_file_that_moves_to_another_key_within_a_batch_is_not_lost(service: Service) -> None:
    add(service, ("a", ONE))
    assert outcomes(skip(service, ("a", OTHER), ("b", ONE))) == [("updated", None), ("created", None)]


def test_skipped_file_that_is_no_image_is_rejected(service: Service) -> None:
    added = skip(service, ("a", BROKEN), ("b", BROKEN))
    assert [one.status for one in added] == ["rejected", "rejected"]
    assert added[0].error == added[1].error


def test_concurrent_additions_with_skip_store_a_file_once(service: Service) -> None:
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda at: skip(service, (f"key-{at}", ONE))[0].status, range(8)))
    assert sorted(done) == ["created", *["skipped"] * 7]
    assert len(stored_keys(service)) == 1


def test_concurrent_additions_count_every_duplicate(service: Service) -> None:
    with ThreadPoolExecutor(4) as threads:
        added = list(threads.map(lambda at: add(service, (f"key-{at}", ONE))[0], range(8)))
    assert sum(one.duplicate_of is None for one in added) == 1


def test_stop_and_choice_reach_the_pipeline(service: Service) -> None:
    """A job passes both."""
    add(service, ("a", ONE))
    (added,) = service.ingest.add([Upload(ONE, "b", {})], Stop(), OnDuplicate.SKIP)
    assert added.status == "skipped"


KEYS, FILES = st.sampled_from("abcdef"), st.sampled_from(["1", "2", "3"])
BATCHES = st.lists(st.tuples(KEYS, FILES), max_size=8)


def expected(stored: dict[str, str], batch: list[tuple[str, str]], *, skipping: bool) -> list[bool]:
    """Whether each image of a batch is a duplicate, one at a time."""
    now, found = dict(stored), []
    for key, file in batch:
        found.append(key not in now and file in now.values())
        if not (skipping and found[-1]):
            now[key] = file
    return found


def fill(session: Session, stored: dict[str, str]) -> None:
    session.execute(delete(Image))
    about = {"media_type": "image/png", "width": 1, "height": 1, "size_bytes": 1}
    session.add_all(Image(key=key, sha256=file, **about) for key, file in stored.items())
    session.flush()


def test_batches_equal_one_image_at_a_time(database: Database) -> None:
    with database.transaction() as session:

        @given(st.dictionaries(KEYS, FILES), BATCHES, st.booleans())
        def check(stored: dict[str, str], batch: list[tuple[str, str]], skipping: bool) -> None:
            fill(session, stored)
            hashes = {key: stored[key] for key, _ in batch if key in stored}
            found = duplicates_in(session, batch, hashes, skip=skipping)
            assert [one is not None for one in found] == expected(stored, batch, skipping=skipping)
            assert all(same != key for (key, _), same in zip(batch, found, strict=True))

        check()
