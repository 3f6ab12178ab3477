"""The mission: picture → ranked matches. Knows nothing of HTTP or SQL."""
