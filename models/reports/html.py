"""Building blocks of HTML reports: document, sections, tables, tiles and plots.

Light and dark follow the reader's system. Table cells are escaped here.
"""

import re
from collections.abc import Iterable
from html import escape

from models.reports.plots import INK
from models.reports.style import STYLE

Cells = Iterable[str]


def document(title: str, content: str) -> str:
    """Render a page; `title` is text, `content` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{content}</main>\n</body>\n</html>\n"
    )


def header(title: str, summary: str, figures: Iterable[tuple[str, str]], after: str = "") -> str:
    """Render a page's header: `title` is text, `summary` and `after` are HTML, figures are (value, caption) tiles."""
    tiles = "".join(f"<div><dd>{escape(value)}</dd><dt>{escape(what)}</dt></div>" for value, what in figures)
    return f'<header><h1>{escape(title)}</h1>{summary}<dl class="tiles">{tiles}</dl>{after}</header>\n'


def section(title: str, content: str) -> str:
    """Render a section of HTML with a heading."""
    return f"<section><h2>{title}</h2>{content}</section>\n"


def paragraph(text: str) -> str:
    """Render text as a paragraph."""
    return f"<p>{escape(text)}</p>"


def terms(pairs: Iterable[tuple[str, str]]) -> str:
    """Render a description list of terms."""
    return f"<dl>{''.join(f'<div><dt>{escape(term)}</dt><dd>{escape(text)}</dd></div>' for term, text in pairs)}</dl>"


def side_by_side(*parts: str) -> str:
    """Lay out pieces side by side on wide screens."""
    return f'<div class="pair">{"".join(parts)}</div>'


def table(caption: str, head: Cells, rows: Iterable[Cells]) -> str:
    """Render a table whose first column has row headers."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    # A scrollable region must be focusable by keyboard, and then needs a name.
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def plot(svg: str, caption: str) -> str:
    """Embed an SVG plot in the page's text colour, without the attributes of a standalone file."""
    inline = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg") :]).replace(INK, "currentColor")
    inline = inline.replace("<svg ", f'<svg role="img" aria-label="{escape(caption)}" ', 1)
    return f"<figure><figcaption>{escape(caption)}</figcaption>{inline}</figure>"


def number(value: float) -> str:
    """Format a measure with four decimals."""
    return f"{value:.4f}"


def percent(value: float) -> str:
    """Format a share as a percentage."""
    return f"{value:.1%}"
