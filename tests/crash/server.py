"""Run the service with a fake network, and optionally exit at a numbered crash point.

    python -m tests.crash.server DATA_DIR PORT [POINT]

Every write, sync, rename, allocation and commit has two points, one before and one after it. At POINT the process exits
without cleanup; without POINT, each point is logged to DATA_DIR.points.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import uvicorn
from sqlalchemy import event
from sqlalchemy.orm import Session

from app.api.admission.protocol import BoundedProtocol
from app.bootstrap import Service, build_service_with_encoder, open_database
from app.main import create_app
from app.settings import Settings
from tests.fakes import FAKE_CHECKPOINT, FAKE_NETWORK, FakeEncoder

EXIT = 77
WATCHED = ("pwrite", "fsync", "replace", "posix_fallocate", "unlink")


class Points:
    """Counts crash points, and exits at one of them."""

    def __init__(self, log: Path, fatal: int | None) -> None:
        self._log, self._fatal, self._numbers = log, fatal, count(1)
        self.armed = False

    def reach(self, name: str) -> None:
        """Count a point; exit if it is the fatal one."""
        if not self.armed:
            return
        number = next(self._numbers)
        if number == self._fatal:
            os._exit(EXIT)
        if self._fatal is None:
            with self._log.open("a") as log:
                print(number, name, file=log)

    def watch(self, name: str) -> None:
        """Add a point before and after each call of a function of `os`."""
        plain: Callable[..., Any] = getattr(os, name)

        def watched(*arguments: Any, **options: Any) -> Any:
            self.reach(f"before {name}")
            result = plain(*arguments, **options)
            self.reach(f"after {name}")
            return result

        setattr(os, name, watched)


def main() -> None:
    """Serve until terminated, or until the crash point."""
    data_dir, port = Path(sys.argv[1]), int(sys.argv[2])
    points = Points(data_dir.with_suffix(".points"), int(sys.argv[3]) if len(sys.argv) > 3 else None)
    for name in WATCHED:
        points.watch(name)
    event.listen(Session, "before_commit", lambda _session: points.reach("before commit"))
    event.listen(Session, "after_commit", lambda _session: points.reach("after commit"))

    @contextmanager
    def opened(settings: Settings) -> Iterator[Service]:
        with (
            open_database(settings) as database,
            build_service_with_encoder(settings, database, FakeEncoder(), FAKE_NETWORK, FAKE_CHECKPOINT) as service,
        ):
            points.armed = True
            yield service

    settings = Settings(data_dir=data_dir, demo="off", auth="off", _env_file=None)
    app = create_app(settings, opened)
    uvicorn.run(app, port=port, http=BoundedProtocol, ws="none", log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
