"""Resuming an interrupted comparison, on the same data only."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models.comparison.compare import ComparisonConfig, compare
from models.comparison.resume_file import ResumeFile, identity
from tests.models.baselines.toy import encoded_split, toy


def test_interrupted_comparison_resumes(checkpoint_path: Path, folder: Path, tmp_path: Path) -> None:
    choices = ComparisonConfig(("lsh", "itq"), (8, 12), str(checkpoint_path), keep=tmp_path)

    def stopped(what: str, _done: int, _total: int) -> None:
        if what == "itq, 12 bits":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(folder, tmp_path / "out", choices, stopped)
    path = tmp_path / "out" / "unfinished.json"
    kept = json.loads(path.read_text())["measured"]
    assert list(kept) == ["lsh, 8 bits", "lsh, 12 bits", "itq, 8 bits"]
    found = compare(folder, tmp_path / "out", choices)
    assert found["methods"]["lsh"]["bits"]["12"] == kept["lsh, 12 bits"]
    assert list(found["methods"]["itq"]["bits"]) == ["8", "12"]
    assert not path.exists()


def test_resume_file_ignores_other_data_and_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "unfinished.json"
    first = ResumeFile(path, 1)
    assert first.measure("lsh", lambda: {"map": 0.5}) == {"map": 0.5}
    assert ResumeFile(path, 1).measure("lsh", lambda: {"map": 0.6}) == {"map": 0.5}
    assert ResumeFile(path, 2).measure("lsh", lambda: {"map": 0.7}) == {"map": 0.7}
    path.write_bytes(path.read_bytes()[:20])
    assert ResumeFile(path, 2).measured == {}


def test_identity_depends_on_features_labels_and_seed() -> None:
    sides = encoded_split(toy(30)), encoded_split(toy(10, seed=1))
    other = replace(sides[0], labels=1 - sides[0].labels)
    names = [
        identity(*sides, labelled=True, seed=0),
        identity(*sides, labelled=False, seed=0),
        identity(*sides, labelled=True, seed=1),
        identity(other, sides[1], labelled=True, seed=0),
        identity(*reversed(sides), labelled=True, seed=0),
    ]
    assert len(set(names)) == 5
    assert names[0] == identity(*sides, labelled=True, seed=0)
