"""Checkpoints: weights, metadata, calibration."""
