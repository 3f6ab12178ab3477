"""The search core's benchmark at a toy size: rows, verification against brute force, output files."""

import json
from contextlib import closing, nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from app.catalogue.vectors.file import VectorFile
from app.search.local.index import LocalIndex
from app.search.types import IndexEntries
from benchmarks.core import check, run
from benchmarks.measure import time_interleaved
from benchmarks.options import Options
from benchmarks.results import Results
from benchmarks.synthetic.catalogue import SyntheticCatalogue

SMALL = 12_000


@pytest.mark.slow
def test_core_benchmark_measures_every_search_and_its_limit(tmp_path: Path) -> None:
    messages: list[str] = []
    results = run(Options(SMALL, floats=(32,), bits=(16,), folder=tmp_path), messages.append)
    rows = {row.name.removesuffix(" (32 floats, 16 bits)"): row for row in results.rows}
    for name in ("es", "bcs", "hds, pool 1,000", "coarse, pool 1,000", "limit: codes read once"):
        assert rows[name].unit == "ms"
        assert 0 < (rows[name].low or 0) <= (rows[name].value or 0) <= (rows[name].high or 0)
    over, under = rows["bcs_over_es"].of or (0, 1)
    assert rows["bcs_over_es"].value == pytest.approx(over / under)
    assert {"hds_over_es", "coarse_over_limit", "fine_over_kernel"} <= set(rows)
    assert messages
    assert not list(tmp_path.iterdir()), "the file is deleted"


def test_core_benchmark_skips_sizes_without_disk_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    results = run(Options(SMALL, floats=(32,), bits=(16,), folder=tmp_path), lambda _: None)
    assert [(row.name, row.value) for row in results.rows] == [("32 floats", None)]
    assert "0.0 GB free" in (results.rows[0].skipped or "")


def test_results_are_written_as_json_and_plot(tmp_path: Path) -> None:
    results = Results("toy", {"pictures": 3})
    for name, timing in time_interleaved({"quick": lambda _: None}, min_rounds=3, seconds=0).items():
        results.time(name, timing)
    results.ratio("slow_over_quick", 6, 2)
    results.skip("absent", "no such peer")
    results.write(tmp_path / "out" / "toy.json")
    found = json.loads((tmp_path / "out" / "toy.json").read_text())
    assert found["machine"]["cores"] > 0
    assert [(row["name"], row["unit"]) for row in found["rows"]] == [
        ("quick", "ms"),
        ("slow_over_quick", "ratio"),
        ("absent", ""),
    ]
    assert (found["rows"][1]["value"], found["rows"][1]["of"], found["rows"][2]["skipped"]) == (
        3,
        [6, 2],
        "no such peer",
    )
    assert (tmp_path / "out" / "toy.svg").read_text().count("quick") == 1


def test_synthetic_catalogue_is_reproducible_and_clustered() -> None:
    made = SyntheticCatalogue(20_000, 64, 32)
    codes, features = next(iter(made.blocks()))
    again = next(iter(SyntheticCatalogue(20_000, 64, 32).blocks()))
    np.testing.assert_array_equal(features, again[1])
    np.testing.assert_array_equal(codes, again[0])
    assert sum(len(block) for block, _ in made.blocks()) == 20_000
    assert features.min() == 0
    query_codes, queries = made.queries(20)
    np.testing.assert_array_equal(made.codes(queries), query_codes)
    bits = np.bitwise_count(codes ^ query_codes[0]).sum(axis=1)
    exact = np.linalg.norm(features - queries[0], axis=1)
    nearest = np.argsort(exact)[:20]
    assert bits[nearest].mean() < bits.mean() - 4


def test_wrong_result_stops_the_benchmark(tmp_path: Path) -> None:
    codes = np.arange(4000, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
    slots = np.arange(len(codes))
    with closing(VectorFile(tmp_path / "none.f32", 1)) as vectors:
        for held, right in ((codes, True), (codes[::-1].copy(), False)):
            index = LocalIndex(16, vectors)
            index.add(IndexEntries(slots + 1, held, slots, np.zeros(len(codes), np.uint32)))
            with nullcontext() if right else pytest.raises(AssertionError):
                check(index, codes, codes[:2])
