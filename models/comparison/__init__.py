"""Comparison of the paper's baselines and its method on the same features."""
