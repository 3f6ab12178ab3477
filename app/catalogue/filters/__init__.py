"""Filters: SQL conditions, a cache of matching ids, facets."""
