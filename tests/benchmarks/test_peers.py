"""The compared search engines at a toy size: each reaches the recall of exhaustive search."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import faiss
import numpy as np
import pytest

from benchmarks import peers
from benchmarks.baselines.base import Baseline, Catalogue, Query
from benchmarks.baselines.faiss_indexes import Hnsw
from benchmarks.baselines.lookalike import Lookalike
from benchmarks.baselines.pgvector import PgvectorCodes, PgvectorGraph
from benchmarks.options import Options
from benchmarks.peers import recall_at
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue

COUNT, DIM, BITS, K = 3000, 160, 64, 10


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    tmp_path.chmod(0o755)
    blocks = list(SyntheticCatalogue(COUNT, DIM, BITS).blocks())
    codes, features = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    return Catalogue(codes, features, tmp_path)


@pytest.mark.parametrize("make", [Lookalike, Hnsw, PgvectorCodes, PgvectorGraph])
def test_engine_reaches_the_recall_of_exhaustive_search(make: Callable[[], Baseline], catalogue: Catalogue) -> None:
    drawn = SyntheticCatalogue(COUNT, DIM, BITS).queries(20)
    _, truth = faiss.knn(drawn[1], catalogue.features, K)
    queries = [Query(*one) for one in zip(*drawn, strict=True)]
    baseline = make()
    baseline.build(catalogue)
    with closing(baseline):
        least, most = (
            recall_at(baseline, queries, truth, effort) for effort in (baseline.efforts[0], baseline.efforts[-1])
        )
        assert most > 0.95
        assert most >= least
        assert (baseline.memory() or 0) > COUNT


def test_engine_that_is_not_installed_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Absent(Lookalike):
        name = "absent"

        def build(self, catalogue: Catalogue) -> None:
            raise ModuleNotFoundError("nothing here", name=catalogue.folder.anchor)

    monkeypatch.setattr(peers, "BASELINES", (Absent, Lookalike))
    monkeypatch.setattr(peers, "QUERIES", 10)
    results: Results = peers.run(Options(COUNT, floats=(DIM,), folder=tmp_path), lambda _: None)
    rows = {row.name: row for row in results.rows}
    assert "is not installed" in (rows["absent"].skipped or "")
    assert rows["lookalike, two steps: search"].value
    assert rows["lookalike, two steps: es over it"].of
    assert not list(tmp_path.iterdir()), "temporary files are deleted"
