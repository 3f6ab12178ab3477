"""Add and delete images with bytes shared by other processes: `python -m tests.crash.churn`.

Files are stored and deleted slowly, so that the steps of several processes interleave. An added image must keep its
original until this process deletes it.
"""

import logging
import random
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import select

from app.bootstrap import Service, build_service_with_encoder
from app.catalogue.database.sessions import Database
from app.catalogue.database.tables import Image
from app.catalogue.storage import factory
from app.catalogue.storage.local import LocalStorage, content_hash
from app.errors import UnavailableError
from app.ingest.uploads import Upload
from app.settings import Settings
from tests.crash.ledger import numbered_image
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder

NUMBERS = 1


class SlowFiles(LocalStorage):
    """Local storage with random delays."""

    def store(self, originals: Mapping[str, bytes]) -> None:
        super().store(originals)
        time.sleep(random.random() * 0.05)

    def remove(self, sha256: str) -> None:
        time.sleep(random.random() * 0.03)
        super().remove(sha256)


def look_up(service: Service, key: str) -> int | None:
    """Look up an image's id and verify its original; return None if there is no such image."""
    with service.database.read_session() as session:
        found = session.execute(select(Image.id, Image.sha256).where(Image.key == key)).one_or_none()
    if found is None:
        return None
    assert content_hash(service.storage.read(found.sha256)) == found.sha256, f"{key} has lost its original"
    return int(found.id)


def churn(service: Service, name: str, rounds: int) -> int:
    """Add and delete images; return the number of UnavailableErrors."""
    unavailable = 0
    for _ in range(rounds):
        number = random.randrange(NUMBERS)
        key = f"{name}-{number}"
        image_id = look_up(service, key)
        try:
            if image_id is not None:
                service.ingest.delete(image_id)
            else:
                (added,) = service.ingest.add([Upload(numbered_image(number), key, {})])
                assert added.status == "created", added
                assert look_up(service, key) == added.id
        except UnavailableError:
            unavailable += 1
    return unavailable


def main() -> None:
    """Arguments: name, number of rounds, data folder, database URL."""
    logging.basicConfig(level=logging.ERROR)
    name, rounds, data_dir, url = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    settings = Settings(data_dir=data_dir, database_url=url, demo="off", auth="off", trash_days=0, _env_file=None)
    factory.LocalStorage = SlowFiles  # type: ignore[attr-defined]  # replaced where it is used
    with (
        closing(Database(url)) as database,
        build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service,
    ):
        sys.stdout.write("begins\n")
        sys.stdout.flush()
        # All processes begin together.
        sys.stdin.readline()
        sys.stdout.write(f"unavailable {churn(service, name, rounds)}\n")


if __name__ == "__main__":
    main()
