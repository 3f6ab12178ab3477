"""Duplicates in the catalogue: comparing pixels, decisions of people, and merging."""
