"""Measurement of time and memory."""

import numpy as np
import pytest

from models.comparison.cost import measure_cost


def test_cost_reports_peak_memory_of_the_block() -> None:
    with measure_cost() as cost:
        np.ones(200_000_000, np.uint8)
    assert cost.memory is not None
    assert cost.memory == pytest.approx(200e6, rel=0.05)
    with measure_cost() as little:
        pass
    assert little.memory is not None
    assert little.memory < 5e6
