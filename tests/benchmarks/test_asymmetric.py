"""The benchmark of asymmetric order at a toy size."""

from benchmarks.coarse import asymmetric
from benchmarks.synthetic.catalogue import SyntheticCatalogue


def test_rows_have_recall_and_time_of_both_orders() -> None:
    features, queries = asymmetric.synthetic(SyntheticCatalogue(4000, 48, 32))
    rows = {row.name: row.value or 0 for row in asymmetric.measure(features, queries[:40], 32).rows}
    for pool in ("100", "200", "1,000"):
        assert 0 < rows[f"recall@10, pool {pool}"] <= rows[f"recall@10, pool {pool}, asymmetric"] <= 1
        assert 0 < rows[f"coarse, pool {pool}"] < rows[f"coarse, pool {pool}, asymmetric"]
    assert rows["recall@10, pool 100"] < rows["recall@10, pool 100, asymmetric"]
    assert rows["projections"] > 0
