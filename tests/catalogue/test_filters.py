"""Filters against the database, asked anew and kept in step."""

import json
from contextlib import ExitStack
from itertools import product

import numpy as np
from sqlalchemy import event, select

from app.catalogue.changes import Given
from app.catalogue.filters import _MOST
from app.catalogue.tables import Picture
from app.ingest.add import Upload
from app.lifespan import Service
from app.search.types import SearchOptions
from app.settings import Settings
from tests.catalogue.test_follower import opened, picture

LABELS = ("boots", "hats", "it's 100 % \\ “both”", None)


def add(service: Service, key: str, label: str | None) -> int:
    (added,) = service.ingest.add([Upload(picture(len(key)), key, Given(label=label))])
    assert added.id is not None
    return added.id


def passing(service: Service, label: str | None, filter_: str | None = None) -> list[int] | None:
    service.follower.current()
    subset = service.follower.matching(SearchOptions(label=label, filter=filter_))
    return None if subset is None else subset.ids.tolist()


def expected(service: Service, label: str) -> list[int]:
    with service.database.asking() as session:
        return list(session.scalars(select(Picture.id).where(Picture.label == label).order_by(Picture.id)))


def test_filters_stay_in_step_with_every_change_of_any_process(settings: Settings) -> None:
    rng = np.random.default_rng(0)
    with ExitStack() as stack:
        one, two = opened(settings, stack), opened(settings, stack)
        ids: list[int] = []
        for step in range(60):
            writer, what, label = (one, two)[step % 2], rng.integers(4), LABELS[rng.integers(4)]
            if what < 2 or not ids:
                ids.append(add(writer, f"key {step}", label))
            elif what == 2:
                writer.ingest.describe(int(rng.choice(ids)), {"label": label})
            else:
                writer.ingest.delete(ids.pop(rng.integers(len(ids))))
            for name in LABELS[:3]:
                assert name is not None
                asked: tuple[tuple[str | None, str | None], ...] = ((name, None), (None, json.dumps({"label": name})))
                for service, filters in product((one, two), asked):
                    found = passing(service, *filters)
                    # One that was deleted may still be among them: the index no longer finds it.
                    assert [one_id for one_id in found or [] if one_id in ids] == expected(one, name)
    assert ids


def test_no_filter_lets_everything_through(service: Service) -> None:
    assert passing(service, None) is None


def test_a_filter_is_asked_for_once_while_nothing_changes(service: Service) -> None:
    kept = add(service, "one", "boots")
    service.follower.current()
    first = service.follower.matching(SearchOptions(label="boots"))
    asked: list[str] = []
    event.listen(service.database.engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    service.follower.current()
    again = service.follower.matching(SearchOptions(label="boots"))
    assert first is again is not None
    assert again.ids.tolist() == [kept]
    assert len(asked) == 1, "the number of the last change alone"


def test_filters_that_were_not_used_lately_are_forgotten(service: Service) -> None:
    add(service, "one", "boots")
    service.follower.current()
    first = service.follower.matching(SearchOptions(label="boots"))
    for number in range(_MOST):
        assert service.follower.matching(SearchOptions(label=f"label {number}")) is not None
    again = service.follower.matching(SearchOptions(label="boots"))
    assert first is not again is not None
