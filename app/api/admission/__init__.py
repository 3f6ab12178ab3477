"""Limits on connections, bodies, bytes, time and concurrency."""
