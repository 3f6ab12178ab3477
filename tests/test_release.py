"""Release script, run on a small repository of two packages with real builds."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests import release
from tests.release import ReleaseError

pytestmark = pytest.mark.slow

NAMES = {".": "basket", "clients/python": "basket-client"}
CHANGELOG = (
    "# Changelog\n\n## Unreleased\n\n## [0.4.0] - 2026-12-01\n\n### Added\n\n- A handle.\n\n## 0.3.0\n\nFirst.\n"
)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose only commit is the release 0.4.0."""
    # Take build requirements from this environment instead of a package index.
    monkeypatch.setattr(release, "BUILD", (*release.BUILD, "--no-isolation"))
    root = tmp_path / "repository"
    for folder, name in NAMES.items():
        write_package(root / folder, name, "0.4.0")
    (root / "CHANGELOG.md").write_text(CHANGELOG)
    (root / ".gitignore").write_text("/dist/\n")
    git(root, "init", "--quiet")
    commit(root)
    git(root, "tag", "v0.4.0")
    return root


def write_package(folder: Path, name: str, version: str) -> None:
    module = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text("SIZE = 1\n")
    (folder / "README.md").write_text(f"# {name}\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
        f'[project]\nname = "{name}"\nversion = "{version}"\nreadme = "README.md"\n'
        f'[tool.setuptools]\npy-modules = ["{module}"]\n'
    )


def git(root: Path, *arguments: str) -> None:
    author = ("-c", "user.name=Test", "-c", "user.email=test@localhost", "-c", "core.hooksPath=/dev/null")
    subprocess.run(("git", *author, *arguments), cwd=root, check=True, capture_output=True)


def commit(root: Path, tag: str | None = None) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Change")
    if tag is not None:
        git(root, "tag", "--force", tag)


def problems(root: Path) -> str:
    """Return the reasons why the commit is not a release; check that nothing was built."""
    with pytest.raises(ReleaseError) as raised:
        release.release(root, packages_only=False)
    assert not (root / "dist").exists()
    return str(raised.value)


def test_tagged_commit_builds_an_sdist_and_a_wheel_of_each_package(repository: Path) -> None:
    (repository / "dist").mkdir()
    (repository / "dist" / "basket-0.3.0.tar.gz").write_bytes(b"of an earlier release")
    files = release.release(repository, packages_only=False)
    assert {path.name for path in files} == {path.name for path in (repository / "dist").iterdir()}
    assert {path.name for path in files} == {
        "basket-0.4.0.tar.gz",
        "basket-0.4.0-py3-none-any.whl",
        "basket_client-0.4.0.tar.gz",
        "basket_client-0.4.0-py3-none-any.whl",
    }


def test_packages_only_builds_any_commit_without_uncommitted_changes(repository: Path) -> None:
    (repository / "CHANGELOG.md").write_text("# Changelog\n")
    commit(repository)
    (repository / "basket.py").write_text("not Python")
    assert len(release.release(repository, packages_only=True)) == 4
    with zipfile.ZipFile(repository / "dist" / "basket-0.4.0-py3-none-any.whl") as wheel:
        assert wheel.read("basket.py") == b"SIZE = 1\n"


def test_package_without_a_readme_is_an_error(repository: Path) -> None:
    project = repository / "clients" / "python" / "pyproject.toml"
    project.write_text(project.read_text().replace('readme = "README.md"\n', ""))
    commit(repository)
    with pytest.raises(ReleaseError, match="twine check"):
        release.release(repository, packages_only=True)


def test_failed_build_is_an_error(repository: Path) -> None:
    write_package(repository, "basket", "newest")
    commit(repository)
    with pytest.raises(ReleaseError, match=r"-m build .* failed with exit status 1"):
        release.release(repository, packages_only=True)


@pytest.mark.parametrize("packages_only", [True, False])
def test_missing_package_is_an_error(repository: Path, packages_only: bool) -> None:
    git(repository, "rm", "--quiet", "clients/python/pyproject.toml")
    commit(repository, "v0.4.0")
    with pytest.raises(ReleaseError, match=r"clients/python/pyproject\.toml is not in this commit"):
        release.release(repository, packages_only=packages_only)


def test_dynamic_version_is_an_error(repository: Path) -> None:
    project = repository / "clients" / "python" / "pyproject.toml"
    project.write_text(project.read_text().replace('version = "0.4.0"', 'dynamic = ["version"]'))
    commit(repository, "v0.4.0")
    assert "has no version" in problems(repository)


def test_commit_without_the_versions_tag_is_not_a_release(repository: Path) -> None:
    git(repository, "tag", "--delete", "v0.4.0")
    git(repository, "tag", "v0.3.0")
    assert problems(repository) == "Tags of this commit: v0.3.0. Set the tag of this version: git tag --annotate v0.4.0"


def test_packages_of_different_versions_are_not_a_release(repository: Path) -> None:
    write_package(repository / "clients" / "python", "basket-client", "0.4.1")
    commit(repository, "v0.4.0")
    assert problems(repository) == "basket-client has version 0.4.1, basket 0.4.0. Set both to the same."


def test_uncommitted_files_are_not_a_release(repository: Path) -> None:
    (repository / "notes.txt").write_text("later")
    assert "1 uncommitted files, such as notes.txt" in problems(repository)


def test_all_reasons_are_reported(repository: Path) -> None:
    for folder, name in NAMES.items():
        write_package(repository / folder, name, "0.5.0")
    commit(repository)
    lines = problems(repository).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["CHANGELOG.md", "Tags of this commit"]
    assert "[0.4.0] - 2026-12-01" in lines[0]


def test_entries_below_unreleased_are_not_a_release() -> None:
    changelog = CHANGELOG.replace("## Unreleased\n", "## [Unreleased]\n\n- Forgotten.\n")
    assert ["Unreleased" in problem for problem in release.changelog_problems(changelog, "0.4.0")] == [True]


@pytest.mark.parametrize("heading", ["## 0.4.0", "## [0.4.0]", "## 0.4.0 - 2026-12-01", "## [0.4.0] - 2026-12-01"])
def test_version_headings_are_recognised(heading: str) -> None:
    assert list(release.changelog_problems(f"# Changelog\n\n{heading}\n\n- One.\n", "0.4.0")) == []


def test_changelog_without_versions_is_not_a_release() -> None:
    (problem,) = release.changelog_problems("# Changelog\n", "0.4.0")
    assert "is none" in problem


def test_folder_outside_git_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="git archive failed"):
        release.release(tmp_path, packages_only=True)


def test_command_reports_errors_without_a_traceback(tmp_path: Path) -> None:
    code = f"import sys, pathlib; from tests import release; release.ROOT = pathlib.Path({str(tmp_path)!r}); "
    ended = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(release.main([]))"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("git archive failed: ")
    assert ended.stdout == ""
