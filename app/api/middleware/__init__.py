"""Middleware: keys, host names, rate limit, request log, disconnects."""
