"""Benchmarks of similarity and of duplicates, on pictures whose kind and look are known."""
