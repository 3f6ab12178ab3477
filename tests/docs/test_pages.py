"""What the pages name is there: commands, options, endpoints, parameters, settings, metrics, methods, operators."""

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
ASKED = re.compile(rf"{re.escape(ADDRESS)}(/[\w/.]*)")
COMMAND = re.compile(r"(?:^|[ =])lookalike ((?:keys )?[a-z][a-z-]*)(.*)$", re.MULTILINE)
OPTION = re.compile(r"(?<= )--[a-z][a-z-]*")
OPERATORS = {*COMPARISONS, "$ne", "$in", "$nin", "$exists", "$not", "$and", "$or"}
# FastAPI's own, which its description leaves out.
UNDESCRIBED = {"/", "/docs", "/redoc", "/openapi.json"}


@cache
def described() -> dict[str, Any]:
    paths: dict[str, Any] = create_app(Settings(_env_file=None)).openapi()["paths"]
    return paths


def sections() -> dict[str, str]:
    """The command line's commands, each with what is said of it."""
    parts = page().split("\n## lookalike ")[1:]
    return {name: said for name, _, said in (part.partition("\n") for part in parts)}


def column(name: str, heading: str) -> set[str]:
    """What stands as code in the first column of the table that begins so."""
    table = text(name).partition(heading)[2].partition("\n\n")[0]
    return {word for line in table.splitlines()[1:] for word in re.findall(r"`([^`]+)`", line.split("|")[1])}


def test_the_command_lines_page_is_what_the_commands_say() -> None:
    assert page() == PAGE.read_text(), "run `python -m tests.docs.generate`"


def test_the_settings_page_is_what_the_settings_say() -> None:
    assert settings_page.settings_page() == settings_page.PAGE.read_text(), "run `python -m tests.docs.generate`"


def test_every_section_of_the_settings_page_begins_with_a_setting() -> None:
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
    shapes = {(method.upper(), shape(path)) for path, methods in described().items() for method in methods}
    named = {(method, shape(path)) for method, path in ENDPOINT.findall(code(name))}
    assert named <= shapes
    asked = {shape(path) for path in ASKED.findall(text(name))} - UNDESCRIBED
    assert asked <= {path for _, path in shapes}


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}|\b\d+\b", "{}", path)


@pytest.mark.parametrize("name", NAMES)
def test_settings_exist(name: str) -> None:
    named = {found.removeprefix("LOOKALIKE_").lower() for found in re.findall(r"LOOKALIKE_[A-Z_]+", text(name))}
    assert named <= Settings.model_fields.keys()


def test_every_parameter_of_a_search_is_told() -> None:
    parameters = {parameter["name"] for parameter in described()["/search"]["post"]["parameters"]}
    assert column("search.md", "| parameter | default | |\n") | {"crop"} == parameters


def test_every_operator_is_told() -> None:
    assert column("search.md", "| operator | passes where the field | example |\n") == OPERATORS


def test_every_code_of_an_error_is_told() -> None:
    assert column("api.md", "| code | status | meaning |\n") == set(ProblemCode)


def test_every_method_of_the_client_is_told() -> None:
    methods = {name for name in dir(Lookalike) if not name.startswith("_")} - {"close", "as_method"}
    assert column("api.md", "| method | what it does |\n") == methods
