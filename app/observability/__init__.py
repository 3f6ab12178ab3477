"""Hooks, metrics, tracing and logging."""
