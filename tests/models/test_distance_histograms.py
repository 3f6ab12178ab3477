"""Measures from distance histograms against the same measures of full rankings."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from models.evaluation import distance_histograms as histograms
from models.evaluation import metrics
from models.network.codes import Codes, hamming

BITS = 12


def searched(seed: int, bits: int = BITS) -> tuple[Codes, Codes, list[NDArray[np.int64]]]:
    """Return 5 query codes, 90 database codes, and the relevant positions of each query."""
    rng = np.random.default_rng(seed)
    queries, database = (np.packbits(rng.integers(0, 2, (count, bits)), axis=1) for count in (5, 90))
    labels = rng.integers(0, 4, 90)
    return queries, database, [np.flatnonzero(labels == label) for label in (0, 1, 2, 3, 9)]


def rankings(
    queries: Codes, database: Codes, relevant: Sequence[NDArray[np.int64]]
) -> list[tuple[NDArray[np.bool_], NDArray[np.int32]]]:
    found: list[tuple[NDArray[np.bool_], NDArray[np.int32]]] = []
    for query, wanted in zip(queries, relevant, strict=True):
        distances = hamming(query, database)
        order = np.argsort(distances, kind="stable")
        found.append((np.isin(np.arange(len(database)), wanted)[order], distances[order]))
    return found


@pytest.mark.parametrize("bits", [1, 12, 64, 65, 128, 300])
def test_count_matches_brute_force(bits: int) -> None:
    queries, database, relevant = searched(0, bits)
    found = histograms.count(queries, database, relevant, bits)
    assert found.hits.shape == found.sizes.shape == (5, bits + 1)
    for row, query in enumerate(queries):
        distances = hamming(query, database)
        np.testing.assert_array_equal(found.sizes[row], np.bincount(distances, minlength=bits + 1))
        np.testing.assert_array_equal(found.hits[row], np.bincount(distances[relevant[row]], minlength=bits + 1))


def test_count_supports_distances_over_255() -> None:
    nothing, all_ones = np.zeros((1, 64), np.uint8), np.full((1, 64), 255, np.uint8)
    found = histograms.count(nothing, all_ones, [np.array([0])], 512)
    assert found.hits[0, 512] == found.sizes[0, 512] == 1


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_matches_full_rankings(seed: int) -> None:
    data = searched(seed)
    expected = [metrics.tie_aware_average_precision(*ranking) for ranking in rankings(*data)]
    np.testing.assert_allclose(histograms.average_precision(histograms.count(*data, BITS)), expected)


@pytest.mark.parametrize("seed", range(4))
def test_precision_by_recall_and_within_a_radius_match_full_rankings(seed: int) -> None:
    data = searched(seed)
    found = histograms.count(*data, BITS)
    curves, within = [], []
    for relevant, distances in rankings(*data):
        ends = np.flatnonzero(np.diff(distances, append=-1)) + 1
        curves.append(metrics.precision_by_recall(relevant, ends))
        within.append(metrics.precision_within(relevant, distances, 3) or 0.0)
    np.testing.assert_allclose(histograms.precision_by_recall(found), np.mean(curves, axis=0))
    np.testing.assert_allclose(histograms.precision_within(found, 3), within)


def test_precision_at_k_is_the_expectation_over_tie_orders() -> None:
    data = searched(7)
    rng, ks = np.random.default_rng(0), (1, 5, 20, 90)
    sums = np.zeros((5, len(ks)))
    for _ in range(2000):
        mixed = rng.permutation(90)
        places = np.argsort(mixed)
        relevant = [places[wanted] for wanted in data[2]]
        for row, (ranking, _) in enumerate(rankings(data[0], data[1][mixed], relevant)):
            sums[row] += [metrics.precision_at(ranking, k) for k in ks]
    np.testing.assert_allclose(histograms.precision_at(histograms.count(*data, BITS), ks), sums / 2000, atol=0.04)
