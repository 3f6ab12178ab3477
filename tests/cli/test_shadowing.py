"""`lookalike` reports another package that shadows one of its own."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

import lookalike_cli
from lookalike_cli import PACKAGES, shadowed

ROOT = Path(__file__).parents[2]
COMMAND = Path(sysconfig.get_path("scripts"), "lookalike")


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "models"]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}/other.py", "{}.py"], ids=["package", "folder", "module"])
def test_package_that_shadows_ours_is_reported(name: str, file: str, tmp_path: Path) -> None:
    other = tmp_path / file.format(name)
    other.parent.mkdir(exist_ok=True)
    other.write_text("raise RuntimeError('other code was run')\n")
    done = run(PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    assert f"Another package named {name} hides Lookalike's" in done.stderr
    assert str(tmp_path / name) in done.stderr
    assert "Traceback" not in done.stderr


def test_command_runs_if_its_packages_are_found() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "clothing" in done.stdout


def test_module_runs_the_command() -> None:
    command = [sys.executable, "-m", "lookalike_cli", "models"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, run().stdout)


def test_working_directory_does_not_hide_packages(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("raise RuntimeError\n")
    done = subprocess.run([str(COMMAND), "models"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_package_installed_over_ours_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site, information = tmp_path, tmp_path / "rival-1.0.dist-info"
    (site / "app").mkdir()
    (site / "app" / "__init__.py").write_text('"""Another application."""\n')
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 1.0\n")
    (information / "top_level.txt").write_text("app\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(lookalike_cli, "find_spec", lambda name: _spec(site / name))
    problem = str(shadowed("app", own=site))
    assert "was installed over Lookalike's" in problem
    assert "rival" in problem


def _spec(folder: Path) -> object:
    from importlib.machinery import ModuleSpec

    spec = ModuleSpec(folder.name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


@pytest.mark.parametrize("name", PACKAGES)
def test_own_packages_have_the_mark(name: str) -> None:
    assert shadowed(name) is None


def test_every_package_of_the_distribution_is_checked() -> None:
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {pattern.rstrip("*") for pattern in found} == set(PACKAGES)


def test_entry_point_module_is_not_shadowed() -> None:
    assert sys.modules["lookalike_cli"].__file__ == str(ROOT / "lookalike_cli.py")
