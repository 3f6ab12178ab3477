"""Fit codes to the catalogue by itself: `lookalike adapt` as a child process, once ingest is idle.

An advisory lock lets only one of several workers and replicas do it.
"""

import logging
import threading
import time
from dataclasses import dataclass

from app.adaptation.adapt import MIN_IMAGES
from app.bootstrap import Service
from app.catalogue import queries
from app.catalogue.database.tables import IndexVersion
from app.errors import UnavailableError
from app.tasks.child import COMMAND, run_child
from models.checkpoint.info import CheckpointInfo

log = logging.getLogger(__name__)

# Seconds without a change to the catalogue after which ingest counts as idle.
IDLE_S = 10.0
# Codes are fitted again when the catalogue has grown by this factor.
GROWTH = 4
_POLL_S, _RETRY_S = 2.0, 600.0
_COMMAND = (*COMMAND, "adapt", "--automatic")


def adaptation_due(images: int, active: IndexVersion, network: CheckpointInfo) -> bool:
    """Return whether codes should be fitted: never, if labels taught them."""
    last = active.feature_set.last_adaptation
    if network.classes or images < MIN_IMAGES:
        return False
    return last is None or images >= GROWTH * int(last["images"])


@dataclass
class _Activity:
    """The last change to the catalogue, and when this process noticed it."""

    seq: int = -1
    since: float = 0.0

    def idle_seconds(self, seq: int) -> float:
        """Return for how long the catalogue has not changed."""
        now = time.monotonic()
        if seq != self.seq:
            self.seq, self.since = seq, now
        return now - self.since


class AdaptationWatcher:
    """Starts `lookalike adapt` when it is due. Without LOOKALIKE_ADAPT=auto it does nothing."""

    def __init__(self, service: Service) -> None:
        self._service, self._ending = service, threading.Event()
        self._thread = threading.Thread(target=self._run, name="adaptation", daemon=True)
        self._activity, self._not_before = _Activity(), 0.0

    def __enter__(self) -> "AdaptationWatcher":
        if self._service.settings.adapt == "auto":
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ending.wait(_POLL_S):
            try:
                if self._is_due():
                    self._adapt()
            except UnavailableError as error:
                # Requests report this error themselves.
                log.info("looking whether to adapt failed: %s", error)
            except (
                Exception
            ):  # any error: if this thread ended, codes would never be fitted again; it logs, and retries later
                log.exception("adapting failed")
                self._not_before = time.monotonic() + _RETRY_S

    def _is_due(self) -> bool:
        database = self._service.database
        with database.read_session() as session:
            seq = queries.last_seq(session)
        if self._activity.idle_seconds(seq) < IDLE_S or time.monotonic() < self._not_before:
            return False
        with database.read_session() as session:
            active = queries.active_index_version(session)
        images = self._service.summaries.totals(database).images
        return active is not None and adaptation_due(images, active, self._service.model_info)

    def _adapt(self) -> None:
        """Run the command until it ends or this process stops; log what it printed."""
        ended = run_child(_COMMAND, self._service.settings, self._ending.is_set)
        if ended.status == 0:
            log.info("%s", ended.output or "another process fits codes to the catalogue")
        elif not self._ending.is_set():
            log.warning("codes were not fitted: %s", ended.error)
        # After a failure, and while another process runs the command.
        self._not_before = time.monotonic() + _RETRY_S
