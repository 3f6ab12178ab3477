"""Storage of F7 vectors on disk."""
