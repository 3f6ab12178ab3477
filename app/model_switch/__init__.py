"""Open models, and switch between them without downtime."""
