"""A running server for benchmarks, with a synthetic catalogue."""
