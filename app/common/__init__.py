"""Small helpers that belong to no part."""
