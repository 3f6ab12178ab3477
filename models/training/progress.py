"""Progress of training: a CSV log beside the checkpoint, which other processes read, and TensorBoard's event files.

The log has a line every few seconds and at the end of every epoch. A resumed run drops the lines after the state that
it resumes from, so that every step is there once.
"""

import csv
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self, TextIO

from models.errors import DatasetError

COLUMNS = (
    "time",
    "phase",
    "epoch",
    "epochs",
    "step",
    "steps",
    "rate",
    "loss",
    "accuracy",
    "es",
    "hds",
    "bcs",
    "images_per_second",
    "seconds_left",
)
# Phases in their order. `head` is epoch 0.
HEAD, EPOCHS, DONE = "head", "epochs", "done"
# Seconds between two lines within an epoch.
INTERVAL = 5.0
MODES = ("es", "hds", "bcs")
LOG_SUFFIX = ".log.csv"
_TIMED_STEPS = 3


@dataclass(frozen=True)
class TrainingProgress:
    """Progress of training.

    Attributes:
        epoch: the current one, from 1; 0 while F7 is computed for the head.
        epochs: planned number of epochs.
        step: completed steps of the epoch; in epoch 0, images.
        steps: all of them.
        loss: the step's, or at the end of an epoch the mean.
        accuracy: of F8 on held-out images, only at the end of an epoch.
        rate: learning rate of new layers.
        precision: precision@10 on held-out images by mode (`es`, `hds`, `bcs`), only at the end of an epoch.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float | None = None
    rate: float = 0.0
    precision: dict[str, float] = field(default_factory=dict)

    @property
    def is_epoch_end(self) -> bool:
        """Whether the epoch has been measured."""
        return self.accuracy is not None


Report = Callable[[TrainingProgress], None]


def report_to_both(first: Report, second: Report) -> Report:
    """Return a function that reports to two."""

    def report(progress: TrainingProgress) -> None:
        first(progress)
        second(progress)

    return report


def silent(_progress: TrainingProgress) -> None:
    """Discard progress."""


class TrainingLog:
    """Writes progress to `OUT.log.csv`, and to `OUT.tensorboard` if TensorBoard is installed.

    Args:
        path: the CSV file.
        batch: images per step.
        position: epoch and step of the state that the run starts from; later lines are dropped.

    Raises:
        DatasetError: the file cannot be written.
    """

    def __init__(self, path: Path, batch: int, position: tuple[int, int]) -> None:
        self._path, self._batch = path, batch
        self._file = _open(path, position)
        self._lines = csv.DictWriter(self._file, COLUMNS, lineterminator="\n")
        self._events = _events(path)
        self._speed = _Speed()
        self._last_line = 0.0

    def __call__(self, progress: TrainingProgress) -> None:
        """Record progress: every epoch's end, and the steps every few seconds."""
        now = time.monotonic()
        self._speed(progress, now)
        if progress.is_epoch_end or now - self._last_line >= INTERVAL:
            self._last_line = now
            self._write(EPOCHS if progress.epoch else HEAD, progress)

    def done(self, epoch: int, scores: dict[str, float]) -> None:
        """Record the end of training, with the scores of the checkpoint that was written."""
        precision = {mode: scores[mode] for mode in MODES if mode in scores}
        self._write(DONE, TrainingProgress(epoch, epoch, 0, 0, 0.0, scores.get("accuracy"), precision=precision))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # A full disk has been reported where the line was written.
        with suppress(OSError):
            self._file.close()
        if self._events is not None:
            self._events.close()

    def _write(self, phase: str, progress: TrainingProgress) -> None:
        images_per_step = self._batch if progress.epoch else 1
        left = (progress.epochs - progress.epoch if progress.epoch else 1) * progress.steps
        left += progress.steps - progress.step if progress.epoch else -progress.step
        speed = self._speed.steps_per_second
        values = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "phase": phase,
            "epoch": progress.epoch,
            "epochs": progress.epochs,
            "step": progress.step,
            "steps": progress.steps,
            "rate": _short(progress.rate),
            "loss": _short(progress.loss),
            "accuracy": _short(progress.accuracy),
            **{mode: _short(value) for mode, value in progress.precision.items()},
            "images_per_second": _short(speed and speed * images_per_step),
            "seconds_left": _short(speed and round(left / speed)),
        }
        try:
            self._lines.writerow(values)
            self._file.flush()
        except OSError as error:
            raise _unwritable(self._path, error) from error
        if self._events is not None:
            _add_events(self._events, progress)


class NoLog:
    """Log of the processes that are not the first."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __call__(self, progress: TrainingProgress) -> None:
        """Discard progress."""

    def done(self, epoch: int, scores: dict[str, float]) -> None:
        """Discard the end."""


class _Speed:
    """Steps per second of the current epoch, and of the one before until three steps are timed."""

    def __init__(self) -> None:
        self.steps_per_second: float | None = None
        self._epoch = self._step = -1
        self._since = 0.0

    def __call__(self, progress: TrainingProgress, now: float) -> None:
        if progress.is_epoch_end:
            return
        if progress.epoch != self._epoch:
            self._epoch, self._step, self._since = progress.epoch, progress.step, now
            if progress.epoch == 1:
                self.steps_per_second = None  # images of the head were counted as steps
        elif progress.step >= self._step + _TIMED_STEPS and now > self._since:
            self.steps_per_second = (progress.step - self._step) / (now - self._since)


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the lines of a log; a last line that is being written is left out.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not a log of this version.
    """
    lines = path.read_text().splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines.pop()
    rows = list(csv.DictReader(lines, restval=""))
    if lines and not set(COLUMNS) <= set(next(csv.reader(lines))):
        raise ValueError(f"{path} has other columns than a training log")
    return rows


def _open(path: Path, position: tuple[int, int]) -> TextIO:
    """Open a log for appending, with the lines up to a position."""
    try:
        earlier = [row for row in read_log(path) if _position(row) <= position] if path.exists() else []
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", newline="")
        lines = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        lines.writeheader()
        lines.writerows(earlier)
        file.flush()
    except (OSError, ValueError) as error:
        raise _unwritable(path, error) from error
    return file


def _position(row: dict[str, str]) -> tuple[int, int]:
    """Return epochs done and steps done; a line at the end of an epoch belongs to the epoch's end."""
    epoch, step = int(row["epoch"]), int(row["step"])
    if not epoch:
        return (0, 0)
    return (epoch, 0) if row["accuracy"] else (epoch - 1, step)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _unwritable(path: Path, error: Exception) -> DatasetError:
    return DatasetError(f"{path} cannot be written: {error}. Free space, or delete the file or choose another --out.")


def _events(path: Path) -> Any:
    """Return a writer of TensorBoard's event files, or None if TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(path.with_name(path.name.removesuffix(LOG_SUFFIX) + ".tensorboard"))


def _add_events(events: Any, progress: TrainingProgress) -> None:
    done = (progress.epoch - 1) * progress.steps + progress.step
    if not progress.epoch or progress.is_epoch_end:
        ends = {
            "accuracy": progress.accuracy,
            **{f"precision@10/{mode}": it for mode, it in progress.precision.items()},
        }
        for name, value in ends.items():
            if value is not None:
                events.add_scalar(f"held out/{name}", value, max(done, 0))
    else:
        events.add_scalar("training/loss", progress.loss, done)
        events.add_scalar("training/rate", progress.rate, done)
