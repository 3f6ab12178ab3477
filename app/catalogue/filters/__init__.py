"""Filters as SQL, matching ids, facets."""
