"""What learning costs."""

import numpy as np
import pytest

from models.comparison.cost import measure_cost


def test_memory_is_what_was_in_use_meanwhile() -> None:
    with measure_cost() as cost:
        np.ones(200_000_000, np.uint8)
    assert cost.memory is not None
    assert cost.memory == pytest.approx(200e6, rel=0.05)
    with measure_cost() as little:
        pass
    assert little.memory is not None
    assert little.memory < 5e6
