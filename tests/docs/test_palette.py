"""The page, the documentation's site and the reports have the same colours."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "app/web/style.css"
SITE = ROOT / "tests/docs/theme/css/site.css"
REPORTS = ROOT / "models/reports/templates/style.css"
# The page's property for each one that has another name elsewhere.
NAMES = {
    "bs-body-bg": "background",
    "bs-body-color": "foreground",
    "bs-secondary-color": "muted",
    "bs-secondary-bg": "inset",
    "bs-tertiary-bg": "inset",
    "bs-border-color": "line",
    "bs-primary": "accent",
    "bs-primary-rgb": "accent",
    "bs-link-color": "accent",
    "bs-link-color-rgb": "accent",
    "bs-code-color": "foreground",
    "page": "background",
    "text": "foreground",
    "quiet": "muted",
}
# Only Bootstrap has a property for them; the page mixes this colour.
WITHOUT_PAGE = {"bs-link-hover-color", "bs-link-hover-color-rgb"}


def palettes(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return the custom properties of a style sheet's first two rules that have any: of light and of dark."""
    rules = [re.findall(r"--([\w-]+):\s*([^;]+);", rule) for rule in re.findall(r"{([^{}]*)}", path.read_text())]
    light, dark = [{name: normal(value) for name, value in rule} for rule in rules if rule][:2]
    return light, dark


def normal(value: str) -> str:
    """Return a colour as six hexadecimal digits, and any other value as it is."""
    if re.fullmatch(r"#[0-9a-f]{3}", value):
        return "#" + "".join(2 * digit for digit in value[1:])
    if re.fullmatch(r"\d+, \d+, \d+", value):
        return "#" + "".join(f"{int(part):02x}" for part in value.split(", "))
    return value


@pytest.mark.parametrize("path", [SITE, REPORTS], ids=["site", "reports"])
@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_are_those_of_the_page(path: Path, scheme: int) -> None:
    page, other = palettes(PAGE)[scheme], palettes(path)[scheme]
    expected = {name: page[NAMES.get(name, name)] for name in other.keys() - WITHOUT_PAGE}
    assert {name: other[name] for name in expected} == expected
    assert {"accent", "background", "foreground"} <= {NAMES.get(name, name) for name in expected}
