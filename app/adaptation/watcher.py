"""Fit codes to the catalogue by itself: `lookalike adapt` as a child process, once ingest is idle.

A process of its own has a lower priority than searches, and gives its memory back. An advisory lock lets only one of
several workers and replicas do it.
"""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

from app.adaptation.adapt import MIN_IMAGES
from app.bootstrap import Service
from app.catalogue import queries
from app.catalogue.database.tables import IndexVersion
from app.common.setting_names import PREFIX
from app.errors import UnavailableError
from app.settings import Settings
from models.checkpoint.info import CheckpointInfo

log = logging.getLogger(__name__)

# Seconds without a change to the catalogue after which ingest counts as idle.
IDLE_S = 10.0
# Codes are fitted again when the catalogue has grown by this factor.
GROWTH = 4
_POLL_S, _RETRY_S, _STOP_S = 2.0, 600.0, 10.0
_LOWEST_PRIORITY = 19
_COMMAND = [sys.executable, "-P", "-m", "app.cli.main", "adapt", "--automatic"]


def adaptation_due(images: int, active: IndexVersion, network: CheckpointInfo) -> bool:
    """Return whether codes should be fitted: never, if labels taught them."""
    last = active.feature_set.last_adaptation
    if network.classes or images < MIN_IMAGES:
        return False
    return last is None or images >= GROWTH * int(last["images"])


def environment_of(settings: Settings) -> dict[str, str]:
    """Return this process's environment with the given settings, for a command that must work on the same catalogue."""
    values = settings.model_dump(mode="json") | {"data_dir": str(settings.data_dir.resolve())}
    given = {
        f"{PREFIX}{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | given


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
            except Exception:  # nothing restarts this thread; the error is logged, and it tries again later
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
        """Run the command at the lowest priority until it ends, or this process stops; log what it printed."""
        environment = environment_of(self._service.settings)
        with subprocess.Popen(  # noqa: S603 - a constant list of arguments, without a shell
            _COMMAND,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.setpriority(os.PRIO_PROCESS, process.pid, _LOWEST_PRIORITY)
            result, error = self._wait_for(process)
        if process.returncode == 0:
            log.info("%s", result.strip() or "another process fits codes to the catalogue")
        elif not self._ending.is_set():
            log.warning("codes were not fitted: %s", error.strip().rpartition("\n")[2])
        # After a failure, and while another process runs the command.
        self._not_before = time.monotonic() + _RETRY_S

    def _wait_for(self, process: subprocess.Popen[str]) -> tuple[str, str]:
        """Wait until a process ends, or end it with this one; return what it printed."""
        while not self._ending.is_set():
            try:
                return process.communicate(timeout=_POLL_S / 4)
            except subprocess.TimeoutExpired:
                continue
        process.terminate()
        try:
            return process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()
