"""Lookalike's Alembic migrations of the catalogue, run by `app/catalogue/schema.py` or by `alembic`."""
