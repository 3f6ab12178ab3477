"""The catalogue: PostgreSQL and the files beside it (originals, thumbnails, vectors)."""
