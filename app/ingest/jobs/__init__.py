"""Ingest jobs: rows, files, the runner."""
