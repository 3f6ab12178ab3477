"""Small helpers shared by all packages."""
