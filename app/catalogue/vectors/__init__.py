"""F7 on disk."""
