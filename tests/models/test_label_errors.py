"""Labels that are probably wrong, and labels that are confused, found by nearest neighbours."""

import numpy as np

from models.evaluation.label_errors import MIN_IMAGES, find_confusions, find_suspects, nearest


def test_nearest_are_those_of_brute_force_without_the_row_itself() -> None:
    features = np.random.default_rng(0).normal(size=(150, 8)).astype(np.float32)
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_array_equal(nearest(features, 5), np.argsort(-cosines, axis=1, kind="stable")[:, :5])
    assert nearest(features[:3], 10).shape == (3, 2)
    assert nearest(features[:1], 10).shape == (1, 0)


def test_planted_errors_are_found_and_right_labels_are_not() -> None:
    rng = np.random.default_rng(0)
    true = np.repeat(np.arange(6), 60)
    features = (np.eye(6)[true] * 6 + rng.normal(size=(360, 6))).astype(np.float32)
    labels = true.copy()
    wrong = rng.choice(360, 18, replace=False)
    labels[wrong] = (labels[wrong] + rng.integers(1, 6, 18)) % 6
    found = find_suspects(labels, labels[nearest(features)], np.bincount(labels))
    assert {one.query for one in found} <= set(wrong.tolist())
    assert len(found) > 14
    assert all(one.suggested == true[one.query] for one in found)
    assert [one.votes for one in found] == sorted((one.votes for one in found), reverse=True)


def test_rare_and_unknown_labels_are_no_suspects() -> None:
    own = np.array([0, 1, -1])
    votes = np.full((3, 10), 2)
    assert [one.query for one in find_suspects(own, votes, np.array([MIN_IMAGES, MIN_IMAGES - 1, 90]))] == [0]
    assert find_suspects(own, np.full((3, 10), -1), np.array([9, 9, 9])) == []


def test_confused_labels_are_listed_with_their_share() -> None:
    own = np.array([0, 0, 0, 1, 1, 2])
    votes = np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1], [1, 1, 0], [2, 2, 2], [-1, -1, -1]])
    found = find_confusions(own, votes)
    assert [(one.label, one.other, one.images, one.of) for one in found] == [(0, 1, 2, 3), (1, 2, 1, 2)]
