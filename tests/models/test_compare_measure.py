"""Measuring a method, and how much of the pictures it learns from."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.baselines.kinds import KINDS
from models.compare_data import relevant_pictures
from models.compare_measure import Comparison, sizes
from models.compare_unfinished import Unfinished
from tests.models.baselines.toy import side_of, toy


def test_a_method_that_fails_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    database, queries = side_of(toy(100)), side_of(toy(20, seed=1))

    def no_room(_bits: int, _seed: int) -> Any:
        raise MemoryError

    monkeypatch.setitem(KINDS, "lsh", replace(KINDS["lsh"], make=no_room))
    relevant, unfinished = relevant_pictures(database, queries, True), Unfinished(tmp_path / "unfinished.json", 0)
    comparison = Comparison(database, queries, relevant, unfinished, labelled=True, seed=0)
    assert comparison.method("lsh", (8,), lambda _: None)["refused"] == {"8": "There is not enough memory."}
    assert comparison.method("itq", (8,), lambda _: None)["bits"]


def test_sizes_go_up_to_all_pictures() -> None:
    assert sizes(27) == [27]
    assert sizes(3068) == [500, 1000, 2000, 3068]
    assert sizes(60_000)[-2:] == [32_000, 60_000]
