"""Checkpoints: weights, description, calibration."""
