"""Benchmarks of what a network is shown: cuts, objects off the centre, decoding."""
