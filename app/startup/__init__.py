"""Supervision of the service's start: deadlines and signals."""
