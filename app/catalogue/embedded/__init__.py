"""Embedded PostgreSQL: a server that the service runs itself."""
