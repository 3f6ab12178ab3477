"""The training benchmark at a toy size, and its argument checks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import training
from benchmarks.training import MIN_STEPS, make, run
from models.training.config import TrainingConfig


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """Run torch in one thread: on busy cores threads that wait for each other are many times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_one_thread")
def test_training_benchmark_measures_steps_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CLASS_COUNT", 4)
    make(tmp_path / "made", 400, 24)
    found = run(
        tmp_path / "made", TrainingConfig(backbone="small", imagenet=False, bits=16, size=24, batch=4), MIN_STEPS
    )
    assert (found["rank"], found["processes"], found["steps"]) == (0, 1, MIN_STEPS)
    numbers = [found[name] for name in ("seconds_reading", "pictures_a_second", "resident_megabytes_at_the_end")]
    assert all(isinstance(number, float | int) and number >= 0 for number in numbers), found


def test_training_benchmark_refuses_too_few_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["training", "run", str(tmp_path / "nowhere"), "--steps", str(MIN_STEPS - 1)])
    with pytest.raises(SystemExit):
        training.main()
    assert f"--steps must be {MIN_STEPS} or more" in capsys.readouterr().err
