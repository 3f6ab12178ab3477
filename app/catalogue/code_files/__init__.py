"""Files of codes beside the database, for quick starts."""
