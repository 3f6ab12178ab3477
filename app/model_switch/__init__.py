"""Opening models, and switching between them while requests are under way."""
