"""Reproducible benchmarks; each module's docstring describes its own."""
