"""Middleware: API keys, host names, rate limit, request log, disconnects."""
