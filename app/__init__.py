"""Lookalike: self-hosted image search. The service; see ARCHITECTURE.md for how it fits together."""
