"""Tables, sessions, migrations, locks, limits."""
