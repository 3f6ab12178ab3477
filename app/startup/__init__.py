"""Supervision of a start: deadlines and signals."""
