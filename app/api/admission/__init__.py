"""Admission control: limits on connections, bodies, memory, time and concurrency."""
