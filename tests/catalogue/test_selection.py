"""Selections of a change are counted under the catalogue's lock."""

import threading

from sqlalchemy import text

from app.bootstrap import Service
from app.catalogue.selection import Selection
from app.catalogue.sequence import next_seq
from app.errors import SelectionChangedError
from tests.catalogue.test_index_sync import add, ids


def test_concurrent_deletions_of_one_selection_succeed_once(service: Service) -> None:
    added = [add(service, f"key {number}", number) for number in range(6)]
    outcomes: list[object] = []

    def run() -> None:
        try:
            outcomes.append(service.trash.delete(Selection(ids=added), 6))
        except SelectionChangedError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failed = [one for one in outcomes if isinstance(one, SelectionChangedError)]
    assert [len(error.missing) for error in failed] == [6, 6, 6]
    assert ids(service) == []


def test_selection_changed_while_the_change_waits_is_detected(service: Service) -> None:
    added = [add(service, f"key {number}", number, "boots") for number in range(3)]
    errors: list[BaseException] = []

    def delete_expected() -> None:
        try:
            service.trash.delete(Selection(label="boots"), 3)
        except SelectionChangedError as error:
            errors.append(error)

    with service.database.transaction() as session:
        next_seq(session)  # holds the catalogue's lock
        waiting = threading.Thread(target=delete_expected)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        session.execute(text("UPDATE images SET label = 'hats' WHERE id = :id"), {"id": added[0]})
    waiting.join()
    assert [str(error) for error in errors] == [
        "The catalogue has changed: the selection has 2 images, not the 3 expected. Nothing was changed. Load the "
        "images again, then repeat."
    ]
    assert ids(service) == added
