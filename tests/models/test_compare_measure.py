"""Measurement of methods, and of their cost by number of images."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from models.comparison.baselines.latent import LatentLayer
from models.comparison.baselines.method import Labels
from models.comparison.baselines.registry import METHODS
from models.comparison.data import relevant_images
from models.comparison.measure import Comparison, sizes
from models.comparison.resume_file import ResumeFile
from models.errors import ModelError
from models.network.codes import Floats
from tests.models.baselines.toy import encoded_split, toy


def comparison_in(folder: Path) -> Comparison:
    database, queries = encoded_split(toy(100)), encoded_split(toy(20, seed=1))
    relevant, unfinished = relevant_images(database, queries, True), ResumeFile(folder / "unfinished.json", 0)
    return Comparison(database, queries, relevant, unfinished, labelled=True, seed=0)


def test_failure_of_one_method_does_not_affect_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_room(_bits: int, _seed: int) -> Any:
        raise MemoryError

    monkeypatch.setitem(METHODS, "lsh", replace(METHODS["lsh"], make=no_room))
    comparison = comparison_in(tmp_path)
    assert comparison.method("lsh", (8,), lambda _: None)["refused"] == {"8": "Out of memory."}
    assert comparison.method("itq", (8,), lambda _: None)["bits"]


class Failing(LatentLayer):
    """A method that runs out of memory in torch with 8 bits, and fails otherwise with another error."""

    def fit(self, _features: Floats, _labels: Labels | None = None, /) -> None:
        if self.bits == 8:
            torch.empty(10**15)
        raise RuntimeError("something else")


def test_torch_out_of_memory_is_reported_as_memory_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    comparison = comparison_in(tmp_path)
    monkeypatch.setitem(METHODS, "ours", replace(METHODS["ours"], make=Failing))
    assert comparison.method("ours", (8,), lambda _: None)["refused"] == {"8": "Out of memory."}
    assert comparison.growth("ours", 8, lambda _: None) == []
    with pytest.raises(RuntimeError, match="something else"):
        comparison.method("ours", (16,), lambda _: None)


def test_write_errors_stop_the_comparison(tmp_path: Path) -> None:
    comparison = comparison_in(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="nowhere is not writable"):
        comparison.method("lsh", (8,), lambda _: None)
    with pytest.raises(ModelError, match="nowhere is not writable"):
        comparison.growth("ksh", 8, lambda _: None)


def test_growth_reuses_the_measurement_on_all_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    comparison, timed_sizes = comparison_in(tmp_path), list[int]()
    monkeypatch.setattr("models.comparison.measure.SIZES", (50,))
    for name in ("ours", "ksh"):
        found = comparison.method(name, (8,), lambda _: None)["bits"]["8"]
        times = comparison.growth(name, 8, timed_sizes.append)
        assert [time["pictures"] for time in times] == [50, 100]
        as_measured = (times[-1]["seconds"], times[-1]["memory"]) == (found["seconds"], found["memory"])
        assert as_measured == (METHODS[name].most is None)
    assert timed_sizes == [50, 50, 100]
    comparison.unfinished.measured.clear()
    assert [time["pictures"] for time in comparison.growth("ours", 8, timed_sizes.append)] == [50, 100]


def test_sizes_end_with_all_images() -> None:
    assert sizes(27) == [27]
    assert sizes(3068) == [500, 1000, 2000, 3068]
    assert sizes(60_000)[-2:] == [32_000, 60_000]
