"""Maintenance tasks that are started over the API and run as child processes: adapt, demo, reindex, report."""
