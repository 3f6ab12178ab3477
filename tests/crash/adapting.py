"""Fit codes to the catalogue of a test with the fake network, again and again, until it is killed.

python -m tests.crash.adapting DATA_DIR
"""

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.adaptation import adapt as adapting
from app.adaptation.adapt import adapt
from app.bootstrap import index_locations, open_database, open_fsync_guard
from app.catalogue import index_versions, queries
from app.catalogue.database.sessions import Database
from app.errors import LookalikeError
from app.settings import Settings
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK

log = logging.getLogger(__name__)


@contextmanager
def adapting_all_the_time(data_dir: Path) -> Iterator[None]:
    """Run this module for the length of the block, then kill it."""
    command = [sys.executable, "-m", "tests.crash.adapting", str(data_dir)]
    with data_dir.with_suffix(".adapting.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait(60)


def back_and_forth(database: Database, settings: Settings) -> None:
    """Adapt, then make the network's own codes those in use again, as far as they are complete."""
    result = adapt(
        database, index_locations(settings), open_fsync_guard(settings), lambda *_: None, 20, lambda _: FAKE_NETWORK
    )
    log.info("%s", result)
    with database.transaction() as session:
        own = index_versions.find_or_create(session, FAKE_NETWORK, FAKE_CHECKPOINT)
        active = queries.active_index_version(session)
        done, total = index_versions.encoded_and_total(session, own.id)
        if active is not None and active.id != own.id and done == total:
            index_versions.activate(session, own.id)


def main() -> None:
    """Adapt until killed."""
    logging.basicConfig(level=logging.INFO)
    settings = Settings(data_dir=Path(sys.argv[1]), demo="off", _env_file=None)
    # Every run switches, so that kills meet all of it.
    adapting._MIN_GAIN = -1.0
    with open_database(settings) as database:
        while True:
            try:
                back_and_forth(database, settings)
            except LookalikeError as error:
                log.info("%s", error)
            time.sleep(0.05)


if __name__ == "__main__":
    main()
