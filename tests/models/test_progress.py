"""The training log: lines, speed, resuming, TensorBoard, errors."""

import csv
import resource
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from models.errors import DatasetError
from models.training import progress as progress_module
from models.training.progress import COLUMNS, TrainingLog, TrainingProgress, read_log

PRECISION = {"es": 0.5, "hds": 0.75, "bcs": 0.7}


def end(epoch: int) -> TrainingProgress:
    return TrainingProgress(epoch, 3, 4, 4, 0.25, 0.875, precision=PRECISION)


def step(epoch: int, number: int) -> TrainingProgress:
    return TrainingProgress(epoch, 3, number, 4, 0.5, rate=0.1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The log's clock; a second passes at each reading."""
    now = [1000.0]

    def read() -> float:
        now[0] += 1.0
        return now[0]

    monkeypatch.setattr("models.training.progress.time.monotonic", read)
    return now


@pytest.fixture(autouse=True)
def _every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress_module, "INTERVAL", 0.0)


def run_epochs(log: TrainingLog, *epochs: int) -> None:
    for epoch in epochs:
        for number in range(1, 5):
            log(step(epoch, number))
        log(end(epoch))


def test_log_has_steps_epoch_ends_and_the_end(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "runs" / "net.log.csv"
    with TrainingLog(path, 8, (-1, 0)) as log:
        log(TrainingProgress(0, 3, 50, 100, 0.0))
        log(TrainingProgress(0, 3, 1, 1, 0.0, 0.5, precision=PRECISION))
        run_epochs(log, 1, 2)
        log.done(2, {"accuracy": 0.875, **PRECISION})
    rows = read_log(path)
    assert [(row["phase"], row["epoch"], row["step"]) for row in rows] == [
        ("head", "0", "50"),
        ("head", "0", "1"),
        *(("epochs", str(epoch), str(number)) for epoch in (1, 2) for number in (1, 2, 3, 4, 4)),
        ("done", "2", "0"),
    ]
    assert [row["epoch"] for row in rows if row["accuracy"]] == ["0", "1", "2", "2"]
    ends = [row for row in rows if row["hds"]]
    assert {(row["es"], row["hds"], row["bcs"]) for row in ends} == {("0.5", "0.75", "0.7")}
    # A step takes a second, so eight images per second; four steps are left in each further epoch.
    last = rows[-3]
    assert (last["images_per_second"], last["seconds_left"]) == ("8", "4")


def test_resumed_log_has_every_step_once(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "net.log.csv"
    with TrainingLog(path, 8, (-1, 0)) as log:
        log(TrainingProgress(0, 3, 1, 1, 0.0, 0.5, precision=PRECISION))
        run_epochs(log, 1)
        log(step(2, 1))
        log(step(2, 2))
    with TrainingLog(path, 8, (1, 1)) as log:
        log(step(2, 2))
    assert [(row["epoch"], row["step"]) for row in read_log(path)][-4:] == [
        ("1", "4"),
        ("1", "4"),
        ("2", "1"),
        ("2", "2"),
    ]
    with TrainingLog(path, 8, (0, 0)):
        pass
    assert [row["epoch"] for row in read_log(path)] == ["0"]
    with TrainingLog(path, 8, (-1, 0)):
        pass
    assert read_log(path) == []


def test_steps_within_the_interval_are_left_out(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress_module, "INTERVAL", 2.0)
    with TrainingLog(tmp_path / "net.log.csv", 8, (-1, 0)) as log:
        run_epochs(log, 1)
    rows = read_log(tmp_path / "net.log.csv")
    assert [row["step"] for row in rows] == ["1", "3", "4"]


def test_line_that_is_being_written_is_left_out(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "net.log.csv"
    with TrainingLog(path, 8, (-1, 0)) as log:
        run_epochs(log, 1)
    whole = path.read_text()
    for cut in range(len(whole) - 40, len(whole)):
        path.write_text(whole[:cut])
        assert len(read_log(path)) == 4
    path.write_text("")
    assert read_log(path) == []


@pytest.mark.parametrize("content", ["name,value\na,1\n", "\n\n"])
def test_file_that_is_no_log_is_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "net.log.csv"
    path.write_text(content)
    with pytest.raises(DatasetError, match=r"net\.log\.csv cannot be written: .*Delete|delete"):
        TrainingLog(path, 8, (-1, 0))
    assert path.read_text() == content


def test_log_in_a_place_without_access_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match="cannot be written"):
        TrainingLog(tmp_path / "file" / "net.log.csv", 8, (-1, 0))


def test_full_disk_is_an_error_with_a_next_step(tmp_path: Path, clock: list[float]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with TrainingLog(tmp_path / "net.log.csv", 8, (-1, 0)) as log:
        run_epochs(log, 1)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        try:
            with pytest.raises(DatasetError, match=r"net\.log\.csv cannot be written.* Free space"):
                run_epochs(log, 2)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_tensorboard_gets_losses_and_held_out_scores(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: Path) -> None:
            assert folder == tmp_path / "net.tensorboard"

        def add_scalar(self, name: str, value: float, at: int) -> None:
            added.append((name, value, at))

        def close(self) -> None:
            added.append(("closed", 0, 0))

    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(progress_module, "find_spec", lambda name: name == "tensorboard")
    with TrainingLog(tmp_path / "net.log.csv", 8, (-1, 0)) as log:
        run_epochs(log, 1, 2)
    assert ("training/loss", 0.5, 2) in added
    assert ("training/loss", 0.5, 6) in added
    assert ("held out/accuracy", 0.875, 8) in added
    assert ("held out/precision@10/hds", 0.75, 4) in added
    assert added[-1][0] == "closed"


def test_columns_are_a_table_that_other_programs_read(tmp_path: Path, clock: list[float]) -> None:
    path = tmp_path / "net.log.csv"
    with TrainingLog(path, 8, (-1, 0)) as log:
        run_epochs(log, 1)
    with path.open(newline="") as file:
        header, *rows = list(csv.reader(file))
    assert tuple(header) == COLUMNS
    assert {len(row) for row in rows} == {len(COLUMNS)}
