"""Synthetic catalogues: F7, codes and rows."""
