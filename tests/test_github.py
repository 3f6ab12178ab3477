"""Workflows, dependabot and issue forms follow GitHub's schemas and refer to existing files, targets and settings."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from app.common.setting_names import unknown_variable_warnings
from app.settings import Settings

ROOT = Path(__file__).parents[1]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))
FORMS = sorted((GITHUB / "ISSUE_TEMPLATE").glob("*.yml"))
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VERSION_TAG = re.compile(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+")
UPPER_BOUNDS = {"<", "<=", "==", "~="}


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = YAML(typ="safe").load(path)
    return loaded


def check(schema: str, path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def steps() -> list[dict[str, Any]]:
    return [step for path in WORKFLOWS for job in load(path)["jobs"].values() for step in job.get("steps", [])]


def commands() -> list[str]:
    return [step["run"] for step in steps() if "run" in step]


def ci_steps() -> list[str]:
    return subprocess.check_output([ROOT / ".ci" / "run", "--list"], text=True).split()


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        *(("vendor.github-workflows", path) for path in WORKFLOWS),
        *(("custom.github-workflows-require-timeout", path) for path in WORKFLOWS),
        *(("vendor.github-issue-forms", path) for path in FORMS),
        ("vendor.dependabot", GITHUB / "dependabot.yml"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_files_follow_githubs_schemas(schema: str, path: Path) -> None:
    checked = check(schema, path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_invalid_file_fails_its_schema(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text("on: push\njobs:\n  one:\n    runs-on: ubuntu-24.04\n    steps: [{uses: 5}]\n")
    assert check("vendor.github-workflows", broken).returncode == 1


def test_checks_run_every_ci_step_on_every_supported_python() -> None:
    job = load(GITHUB / "workflows" / "checks.yml")["jobs"]["checks"]
    called = [
        step["run"].removeprefix(".ci/run ") for step in job["steps"] if step.get("run", "").startswith(".ci/run")
    ]
    assert called == ci_steps()
    versions = job["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13"]
    assert PROJECT["requires-python"] == f">={versions[0]}"


def test_unknown_ci_step_is_refused_before_any_step_runs() -> None:
    ended = subprocess.run([ROOT / ".ci" / "run", "programs", "deploy"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert '"deploy"' in ended.stderr


def test_make_targets_in_workflows_exist() -> None:
    targets = {name for command in commands() for name in re.findall(r"^make ([a-z-]+)", command, re.MULTILINE)}
    assert targets
    assert targets <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_settings_in_workflows_exist() -> None:
    named = {name for path in WORKFLOWS for name in re.findall(r"LOOKALIKE_[A-Z_]+", path.read_text())}
    assert named
    assert unknown_variable_warnings(named, Settings.model_fields) == []


def test_actions_are_pinned_to_version_tags() -> None:
    used = [step["uses"] for step in steps() if "uses" in step]
    assert used
    assert [name for name in used if not VERSION_TAG.fullmatch(name)] == []
    assert len({name.partition("@")[0] for name in used}) == len(set(used)), "one version of each action"


def test_workflows_have_read_permission_only() -> None:
    assert [load(path)["permissions"] for path in WORKFLOWS] == [{"contents": "read"}] * len(WORKFLOWS)


def test_dependabot_folders_exist() -> None:
    updates = load(GITHUB / "dependabot.yml")["updates"]
    assert {update["package-ecosystem"] for update in updates} >= {"pip", "github-actions", "docker"}
    assert [update for update in updates if not (ROOT / update["directory"].strip("/")).is_dir()] == []


def test_dependabot_keeps_the_upper_bounds_of_dependencies() -> None:
    lines = [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    requirements = map(Requirement, (*PROJECT["dependencies"], *lines))
    bounded = {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if {specifier.operator for specifier in requirement.specifier} & UPPER_BOUNDS
    } - {"lookalike-client"}  # built from this repository
    (pip,) = (update for update in load(GITHUB / "dependabot.yml")["updates"] if update["package-ecosystem"] == "pip")
    assert {rule["dependency-name"] for rule in pip["ignore"]} == bounded


def test_code_owners_are_placeholders() -> None:
    lines = (GITHUB / "CODEOWNERS").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == []
