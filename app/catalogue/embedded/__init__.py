"""The PostgreSQL that the service runs itself."""
