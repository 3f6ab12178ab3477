"""Middleware: proxies, API keys, host names, rate limit, request log, gzip bodies, HEAD, disconnects."""
