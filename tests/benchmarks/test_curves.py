"""The curves of recall against time at a toy size, and the interpolation between their points."""

import numpy as np
import pytest

from benchmarks.coarse import curves
from benchmarks.coarse.curves import HNSW, K, Point, compare, time_at
from benchmarks.measure import Timing
from benchmarks.results import Results


def points(*measured: tuple[float, float]) -> list[Point]:
    return [Point(10 * at, recall, Timing(s, s, s, 1)) for at, (recall, s) in enumerate(measured, 1)]


def test_every_way_has_a_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "_SECONDS", 0.0)
    rows = {row.name: row for row in curves.measure(3000, 160, bits=(64,), queries=20).rows}
    ways: dict[str, tuple[int, ...]] = {HNSW: curves.EF_SEARCH}
    ways |= dict.fromkeys(("64 bits, shipped", "64 bits, adapted, f32", "64 bits, adapted, f16"), curves.POOLS)
    ways["64 bits, adapted, f32, Hamming order"] = curves.POOLS
    for name, efforts in ways.items():
        recalls = [rows[f"{name}, {effort:,}: recall@{K}"].value or 0 for effort in efforts]
        assert 0 < recalls[0] <= 1
        assert recalls[-1] > 0.99, name
        assert name == HNSW or recalls == sorted(recalls), "a larger pool includes a smaller one"
        assert all((rows[f"{name}, {effort:,}"].value or 0) > 0 for effort in efforts)
        assert (rows[f"{name}: time at recall 0.95"].value or 0) > 0
        assert name == HNSW or rows[f"{name}: time at recall 0.95, over HNSW's"].of
    assert rows["F7 as f32: disk a picture"].value == 2 * (rows["F7 as f16: disk a picture"].value or 0)
    assert (rows[f"{HNSW}: memory a picture"].value or 0) > 4 * 160


def test_time_at_a_recall_is_interpolated_between_the_neighbouring_points() -> None:
    curve = points((0.5, 1.0), (0.9, 4.0), (1.0, 16.0))
    assert time_at(curve, 0.95) == pytest.approx(8.0)
    assert time_at(curve, 0.9) == pytest.approx(4.0)
    assert time_at(curve, 0.7) == pytest.approx(2.0)
    assert time_at(curve, 0.4) == pytest.approx(1.0), "the smallest effort"
    assert time_at(points((0.5, 1.0), (0.9, 4.0)), 0.95) is None


def test_time_at_a_recall_ignores_later_losses() -> None:
    assert time_at(points((0.5, 1.0), (0.9, 4.0), (0.85, 5.0), (1.0, 16.0)), 0.9) == pytest.approx(4.0)


def test_times_at_equal_recall_are_compared() -> None:
    results = Results("toy", {})
    slow = points((0.9, 0.004), (1.0, 0.016))
    compare(results, {HNSW: points((0.9, 0.001), (1.0, 0.004)), "slow": slow, "low": points((0.9, 0.1))}, 0.95)
    rows = {row.name: row for row in results.rows}
    assert rows["slow: time at recall 0.95, over HNSW's"].value == pytest.approx(4)
    assert rows["slow: time at recall 0.95"].value == pytest.approx(8)
    assert rows["low: time at recall 0.95"].skipped == "not reached"
    assert not np.isnan(rows[f"{HNSW}: time at recall 0.95"].value or 0)
