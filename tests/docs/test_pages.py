"""Names in the documentation exist: commands, options, endpoints, parameters, settings, methods, operators."""

import re
from functools import cache
from typing import Any

import pytest
from lookalike_client import Lookalike

from app.api.problem_codes import ProblemCode
from app.main import create_app
from app.search.filter import COMPARISONS
from app.settings import Settings
from tests.docs import settings_page
from tests.docs.generate import PAGE, page
from tests.docs.pages import ADDRESS, NAMES, code, text

ENDPOINT = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/[\w/{}.]*)")
REQUESTED = re.compile(rf"{re.escape(ADDRESS)}(/[\w/.]*)")
COMMAND = re.compile(r"(?:^|[ =])lookalike ((?:keys |trash )?[a-z][a-z-]*)(.*)$", re.MULTILINE)
OPTION = re.compile(r"(?<= )--[a-z][a-z-]*")
OPERATORS = {*COMPARISONS, "$ne", "$in", "$nin", "$exists", "$not", "$and", "$or"}
# Pages and descriptions, which are not in the OpenAPI document.
UNDESCRIBED = {"/", "/operations", "/training", "/docs", "/redoc", "/openapi.json"}


@cache
def openapi_paths() -> dict[str, Any]:
    paths: dict[str, Any] = create_app(Settings(_env_file=None)).openapi()["paths"]
    return paths


def sections() -> dict[str, str]:
    """Return each command's section of the generated page, by name."""
    parts = page().split("\n## lookalike ")[1:]
    return {name: body for name, _, body in (part.partition("\n") for part in parts)}


def column(name: str, heading: str) -> set[str]:
    """Return the code in the first column of the table with a heading."""
    table = text(name).partition(heading)[2].partition("\n\n")[0]
    return {word for line in table.splitlines()[1:] for word in re.findall(r"`([^`]+)`", line.split("|")[1])}


def test_command_line_page_is_up_to_date() -> None:
    assert page() == PAGE.read_text(), "run `python -m tests.docs.generate`"


def test_settings_page_is_up_to_date() -> None:
    assert settings_page.settings_page() == settings_page.PAGE.read_text(), "run `python -m tests.docs.generate`"


def test_sections_of_the_settings_page_begin_with_existing_settings() -> None:
    assert settings_page.SECTIONS.keys() <= Settings.model_fields.keys()
    assert next(iter(settings_page.SECTIONS)) == next(iter(Settings.model_fields))


@pytest.mark.parametrize("name", NAMES)
def test_commands_and_options_exist(name: str) -> None:
    known = sections()
    for command, rest in COMMAND.findall(code(name)):
        assert command in known
        assert [option for option in OPTION.findall(rest) if f"`{option}" not in known[command]] == [], command


@pytest.mark.parametrize("name", NAMES)
def test_endpoints_exist(name: str) -> None:
    shapes = {(method.upper(), shape(path)) for path, methods in openapi_paths().items() for method in methods}
    named = {(method, shape(path)) for method, path in ENDPOINT.findall(code(name))}
    assert named <= shapes
    requested = {shape(path) for path in REQUESTED.findall(text(name))} - UNDESCRIBED
    assert requested <= {path for _, path in shapes}


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}|\b\d+\b", "{}", path)


@pytest.mark.parametrize("name", NAMES)
def test_settings_exist(name: str) -> None:
    named = {found.removeprefix("LOOKALIKE_").lower() for found in re.findall(r"LOOKALIKE_[A-Z_]+", text(name))}
    assert named <= Settings.model_fields.keys()


def test_all_parameters_of_search_are_documented() -> None:
    parameters = {parameter["name"] for parameter in openapi_paths()["/search"]["post"]["parameters"]}
    assert column("search.md", "| parameter | default | |\n") | {"crop", "like", "unlike"} == parameters


def test_all_filter_operators_are_documented() -> None:
    assert column("search.md", "| operator | passes where the field | example |\n") == OPERATORS


def test_all_error_codes_are_documented() -> None:
    assert column("api.md", "| code | status | meaning |\n") == set(ProblemCode)


def test_all_client_methods_are_documented() -> None:
    methods = {name for name in dir(Lookalike) if not name.startswith("_")} - {"close", "as_method"}
    assert column("api.md", "| method | what it does |\n") == methods
