"""Database access: tables, sessions, migrations, locks, limits."""
