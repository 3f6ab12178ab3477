"""The pieces that reports are made of: a page that needs nothing else, sections, tables, tiles and plots.

Light and dark follow the reader's system. What goes into a table is escaped here.
"""

import re
from collections.abc import Iterable
from html import escape

from models.reports.plots import INK
from models.reports.style import STYLE

Cells = Iterable[str]


def document(title: str, content: str) -> str:
    """Return a page; `title` is text, `content` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{content}</main>\n</body>\n</html>\n"
    )


def header(title: str, told: str, figures: Iterable[tuple[str, str]], after: str = "") -> str:
    """Return a page's head: `title` is text, `told` and `after` are HTML, figures are values with what they are."""
    tiles = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(what)}</dt></div>" for value, what in figures)
    return f'<header><h1>{escape(title)}</h1>{told}<dl class="tiles">{tiles}</dl>{after}</header>\n'


def section(title: str, content: str) -> str:
    """Return a section of HTML under a title."""
    return f"<section><h2>{title}</h2>{content}</section>\n"


def paragraph(text: str) -> str:
    """Return text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Return words with what they mean."""
    return f"<dl>{''.join(f'<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>' for term, text in pairs)}</dl>"


def beside(*parts: str) -> str:
    """Put pieces next to each other where there is room."""
    return f'<div class="pair">{"".join(parts)}</div>'


def table(caption: str, head: Cells, rows: Iterable[Cells]) -> str:
    """Return a table whose first column names its rows."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    # A region that can be scrolled has to be reachable by keyboard, and then needs a name.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plot(svg: str, caption: str) -> str:
    """Put a plot into the page in the page's own colour, without what only a file of its own needs."""
    inline = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg") :]).replace(INK, "currentColor")
    inline = inline.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    return f"<figure><figcaption>{escape(caption)}</figcaption>{inline}</figure>"


def number(value: float) -> str:
    """Write a measure down."""
    return f"{value:.4f}"


def percent(value: float) -> str:
    """Write a share down."""
    return f"{value:.1%}"
