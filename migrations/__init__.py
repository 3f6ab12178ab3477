"""Lookalike's Alembic migrations of the catalogue, run by `app/catalogue/database/migrations.py` or by `alembic`."""
