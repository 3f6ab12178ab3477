"""A checkpoint measured on a labelled folder."""
