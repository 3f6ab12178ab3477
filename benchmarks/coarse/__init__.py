"""Benchmarks of the coarse step."""
