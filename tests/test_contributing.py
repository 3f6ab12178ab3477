"""CONTRIBUTING.md only names existing files, names in them, make targets, CI steps, modules and scripts."""

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.test_packaging import declared

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FENCED = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
PROSE = FENCED.sub("", PAGE)
CODE = "\n".join([*FENCED.findall(PAGE), *re.findall(r"`([^`\n]+)`", PROSE)])
# A paragraph, a row of a table, or an item of a list with the lines that continue it.
BLOCK = re.compile(r"\n\s*\n|\n(?=\s*(?:\d+\.|-|\|) )")
PATH = re.compile(r"`(\.?[\w-]+(?:/[\w.-]+)+/?|[\w-]+\.(?:md|toml|txt|py|yml)|Makefile)`")
LINK = re.compile(r"\]\(([^)#:]+)\)")
NAME = re.compile(r"`([A-Za-z_]\w*)`")
# A file, followed by a name in it in parentheses.
NAME_OF_FILE = re.compile(r"`([\w/]+\.py)`\s+\(`(\w+)`\)")


def names_beside_files() -> list[tuple[str, tuple[str, ...]]]:
    """Each name in code, with its file, or with all Python files named in the same block."""
    found: list[tuple[str, tuple[str, ...]]] = [(name, (file,)) for file, name in NAME_OF_FILE.findall(PROSE)]
    for block in BLOCK.split(PROSE):
        files = tuple(path for path in PATH.findall(block) if path.endswith(".py"))
        found += [(name, files) for name in NAME.findall(block) if files and name != "Makefile"]
    return found


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("path", sorted({*PATH.findall(PROSE), *LINK.findall(PROSE)}))
def test_files_exist(path: str) -> None:
    assert (ROOT / path).exists()
    assert not path.endswith("/") or (ROOT / path).is_dir()


@pytest.mark.parametrize(("name", "files"), sorted(set(names_beside_files())), ids=str)
def test_names_are_in_the_files_beside_them(name: str, files: tuple[str, ...]) -> None:
    assert any(re.search(rf"(?<!\w){name}\b", (ROOT / file).read_text()) for file in files)


def test_make_targets_exist() -> None:
    named = set(re.findall(r"\bmake ([a-z][a-z-]*)", CODE))
    assert {"lint", "test", "release"} <= named <= targets()


def test_every_development_make_target_is_named() -> None:
    assert targets() - {"help", "demo", "audit"} <= set(re.findall(r"\bmake ([a-z][a-z-]*)", CODE))


def test_ci_steps_exist() -> None:
    steps = subprocess.check_output([ROOT / ".ci" / "run", "--list"], text=True).split()
    named = re.findall(r"\.ci/run ([a-z]+)", CODE)
    assert named
    assert [name for name in named if name not in steps] == []


def test_modules_that_are_run_exist() -> None:
    named = re.findall(r"-m (tests[\w.]*)", CODE)
    assert named
    assert [name for name in named if find_spec(name) is None] == []


def test_scripts_belong_to_development_dependencies() -> None:
    known = {requirement.name for requirement in declared()} | {"python"}
    named = set(re.findall(r"\.venv/bin/([\w-]+)", CODE))
    assert named
    assert named <= known
