"""Markdown tables of generated pages."""


def cell(text: str) -> str:
    """Return text as a table cell, with vertical bars replaced by commas and whitespace normalised."""
    return " ".join(text.replace("|", ", ").split())
