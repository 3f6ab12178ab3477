"""Data of comparisons: cached encodings and relevant images."""

from pathlib import Path

import numpy as np

from models.checkpoint.files import load
from models.comparison import data as compare_data
from models.comparison.data import EncodedSplit, encoded, read_files, relevant_images
from tests.models.baselines.toy import encoded_split, toy
from tests.models.folders import coloured_folder


def test_changed_images_and_damaged_caches_are_encoded_again(checkpoint_path: Path, tmp_path: Path) -> None:
    images = coloured_folder(tmp_path / "pictures", per_class=4)
    network, info = load(checkpoint_path)
    keep, encoded_counts = tmp_path / "keep", list[int]()

    def encode() -> EncodedSplit:
        files = read_files(images, 0).database
        return encoded(files, network, info.fingerprint, keep, lambda done, _: encoded_counts.append(done))

    first = encode()
    np.testing.assert_array_equal(encode().features, first.features)
    assert encoded_counts == [9]
    (path,) = keep.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    np.testing.assert_array_equal(encode().features, first.features)
    assert encoded_counts == [9, 9]
    changed = read_files(images, 0).database.paths[0]
    changed.write_bytes((images / "red" / "0.png").read_bytes() + b" ")
    encode()
    assert encoded_counts == [9, 9, 9]


def test_relevant_images_without_labels_match_brute_force() -> None:
    database, queries = encoded_split(toy(300)), encoded_split(toy(20, seed=1))
    found = relevant_images(database, queries, labelled=False)
    for positions, query in zip(found, queries.features, strict=True):
        distances = np.square(database.features - query).sum(axis=1)
        assert set(positions.tolist()) == set(np.argsort(distances)[:30].tolist())
    assert compare_data.NEIGHBOURS > 30
