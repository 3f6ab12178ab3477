"""Ingest jobs: database rows, archive files, and the runner."""
