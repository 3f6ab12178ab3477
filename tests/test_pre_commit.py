"""Pre-commit hooks, run in a temporary repository: they use the tools of .venv, and download nothing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
CONFIG = ".pre-commit-config.yaml"
GOOD, BAD_STYLE, BAD_FORMAT = '"""Adds."""\n\nONE = 1\n', '"""Adds."""\n\nimport os\n', '"""Adds."""\n\nONE=1\n'


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with this project's configuration and virtual environment."""
    root = tmp_path / "repository"
    root.mkdir()
    for name in (CONFIG, "pyproject.toml", ".gitignore"):
        shutil.copy(ROOT / name, root)
    (root / ".venv").symlink_to(sys.prefix)
    (root / ".git" / "info").mkdir(parents=True)
    (root / ".git" / "info" / "exclude").write_text("/.venv\n")
    (root / "app").mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    return root


def run(root: Path, source: str) -> subprocess.CompletedProcess[str]:
    """Run the hooks on a file with this source, without a cache and without mypy, which checks the whole project."""
    (root / "app" / "added.py").write_text(source)
    subprocess.run(["git", "add", "--all"], cwd=root, check=True)
    environment = os.environ | {"PRE_COMMIT_HOME": str(root.parent / "cache"), "SKIP": "mypy,mypy-client"}
    command = [sys.executable, "-m", "pre_commit", "run", "--all-files"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("source", "failed"), [(GOOD, []), (BAD_STYLE, ["ruff check"]), (BAD_FORMAT, ["ruff format"])], ids=str
)
def test_hooks_fail_if_their_tool_does(repository: Path, source: str, failed: list[str]) -> None:
    ran = run(repository, source)
    assert ran.returncode == bool(failed), ran.stdout + ran.stderr
    lines = [line for line in ran.stdout.splitlines() if line.endswith("Failed")]
    assert [line.partition("..")[0] for line in lines] == failed
    assert (repository / "app" / "added.py").read_text() == source, "hooks do not modify files"


def test_every_hook_runs_a_tool_of_the_virtual_environment() -> None:
    config: dict[str, Any] = YAML(typ="safe").load(ROOT / CONFIG)
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    hooks = config["repos"][0]["hooks"]
    # The client's mypy runs in the client's folder.
    entries = [hook["entry"].removeprefix("sh -c 'cd clients/python && ../../").rstrip("'") for hook in hooks]
    tools = [Path(entry.split()[0]) for entry in entries]
    assert {tool.parent for tool in tools} == {Path(".venv/bin")}
    assert [tool for tool in tools if not (Path(sys.prefix) / "bin" / tool.name).exists()] == []
    assert {tool.name for tool in tools} == {"ruff", "mypy"}
