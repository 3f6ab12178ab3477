"""Render HTML reports from Jinja2 templates; values are escaped.

A package's templates are in its folder `templates`. They extend `report.html`, and import the macros of `parts.html`,
both in this package's `templates`. Light and dark follow the reader's system.
"""

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from models.reports.plots import INK

if TYPE_CHECKING:
    from jinja2 import Environment

# Column headers, and rows that begin with their header.
Table = tuple[list[str], list[list[str]]]


def render(package: str, template: str, /, **values: Any) -> str:
    """Render a template of a package.

    Raises:
        jinja2.UndefinedError: the template uses a value that is missing.
    """
    return _environment(package).get_template(template).render(values)


@cache
def _environment(package: str) -> "Environment":
    # Imported here, because the service imports this module at its start and renders no reports.
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("models.reports")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "percent": percent, "thousands": thousands, "inline_svg": inline_svg}
    return environment


def number(value: float) -> str:
    """Format a measure with four decimals."""
    return f"{value:.4f}"


def percent(value: float | None) -> str:
    """Format a share as a percentage, or `unknown`."""
    return "unknown" if value is None else f"{value:.1%}"


def thousands(value: int) -> str:
    """Format a count with commas between thousands."""
    return f"{value:,}"


def inline_svg(svg: str) -> str:
    """Return a plot from behind `<svg ` on, in the page's text colour, without a standalone file's attributes."""
    element = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg[svg.index("<svg ") :])
    return element.removeprefix("<svg ").replace(INK, "currentColor")
