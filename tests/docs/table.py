"""Tables of generated pages."""


def cell(words: str) -> str:
    """Returns words as a cell of a table, which would end at a bar."""
    return " ".join(words.replace("|", ", ").split())
