"""Training runs in a folder, read from the logs that `lookalike train` writes beside its checkpoints.

The log is all that the two processes share: a run is followed from another process or another machine, and survives
both.
"""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from app.errors import NotFoundError
from models.training.progress import DONE, LOG_SUFFIX, MODES, read_log

# A line is written every few seconds, except while images are measured or a checkpoint is written.
STALE = timedelta(minutes=10)
# Maximum number of runs that are listed, the latest first.
MAX_RUNS = 100


class RunState(StrEnum):
    """State of a run: `stopped` has not written for ten minutes, and the same command continues it."""

    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"


@dataclass(frozen=True)
class Epoch:
    """Scores on held-out images after an epoch; epoch 0 is the head on frozen F7.

    Attributes:
        epoch: its number.
        loss: mean loss; None for the head.
        accuracy: of F8.
        es, hds, bcs: precision@10.
    """

    epoch: int
    loss: float | None
    accuracy: float
    es: float | None
    hds: float | None
    bcs: float | None


@dataclass(frozen=True)
class TrainingRun:
    """A training run.

    Attributes:
        name: name of its checkpoint.
        state: whether it runs.
        updated_at: time of the last line.
        epoch, epochs: the current epoch, and the planned number.
        step, steps: of the epoch; in epoch 0, images whose F7 is computed.
        images_per_second: measured speed.
        seconds_left: estimate, without the end of training.
        history: completed epochs.
        checkpoints: complete checkpoints, the head's first, by name.
    """

    name: str
    state: RunState
    updated_at: datetime
    epoch: int
    epochs: int
    step: int
    steps: int
    images_per_second: float | None
    seconds_left: float | None
    history: tuple[Epoch, ...]
    checkpoints: tuple[str, ...]


def list_runs(folder: Path) -> list[TrainingRun]:
    """List the runs of a folder, the latest first; files that are no logs are left out."""
    found = [run for path in _logs(folder).values() if (run := _read(path)) is not None]
    return sorted(found, key=lambda run: run.updated_at, reverse=True)[:MAX_RUNS]


def read_run(folder: Path, name: str) -> TrainingRun:
    """Return a run by the name of its checkpoint.

    Raises:
        NotFoundError: there is none.
    """
    path = _logs(folder).get(name)
    run = _read(path) if path is not None else None
    if run is None:
        raise NotFoundError("training run", name, str(folder))
    return run


def _logs(folder: Path) -> dict[str, Path]:
    """Return the logs of a folder by name. A name is never made into a path."""
    try:
        return {path.name.removesuffix(LOG_SUFFIX): path for path in folder.iterdir() if path.name.endswith(LOG_SUFFIX)}
    except OSError:
        return {}


def _read(path: Path) -> TrainingRun | None:
    try:
        rows = read_log(path)
        return _run(path, rows) if rows else None
    except (OSError, ValueError, KeyError, csv.Error):
        return None


def _run(path: Path, rows: list[dict[str, str]]) -> TrainingRun:
    last, name = rows[-1], path.name.removesuffix(LOG_SUFFIX)
    updated_at = datetime.fromisoformat(last["time"])
    is_done, is_stale = last["phase"] == DONE, datetime.now(UTC) - updated_at > STALE
    state = RunState.DONE if is_done else RunState.STOPPED if is_stale else RunState.RUNNING
    checkpoints = [found for found in (f"{name}-head", name) if path.with_name(f"{found}.json").exists()]
    return TrainingRun(
        name=name,
        state=state,
        updated_at=updated_at,
        epoch=int(last["epoch"]),
        epochs=int(last["epochs"]),
        step=int(last["step"]),
        steps=int(last["steps"]),
        images_per_second=None if is_done else _number(last, "images_per_second"),
        seconds_left=None if is_done else _number(last, "seconds_left"),
        history=tuple(_epochs(rows)),
        checkpoints=tuple(checkpoints),
    )


def _epochs(rows: list[dict[str, str]]) -> Iterator[Epoch]:
    for row in rows:
        if row["accuracy"] and row["phase"] != DONE:
            epoch = int(row["epoch"])
            precision = {mode: _number(row, mode) for mode in MODES}
            yield Epoch(epoch, float(row["loss"]) if epoch else None, float(row["accuracy"]), **precision)


def _number(row: Mapping[str, str], column: str) -> float | None:
    return float(row[column]) if row[column] else None
