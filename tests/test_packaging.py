"""Packaging: built packages are complete, dependencies are pinned, and no package index is hard-coded."""

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
CLIENT = "lookalike-client"
CLIENT_SOURCE = ROOT / "clients" / "python"
ENTRY_POINT = "lookalike_cli.py"
PACKAGES = ("app", "migrations", "models")
BUILD = "from setuptools.build_meta import build_sdist, build_wheel; build_sdist('dist'); build_wheel('dist')"
PIN = re.compile(r"[A-Za-z0-9._-]+==[0-9][0-9a-z.]*")
# Names without a dot and with a port are other containers.
ADDRESS = re.compile(
    r"https?://(?!127\.0\.0\.1|localhost|0\.0\.0\.0|[a-z]+:\d)|file://|--(extra-)?index-url|--find-links"
)
TOOLING = (
    "Makefile",
    "constraints.txt",
    "docker-compose.yml",
    "docker/Dockerfile",
    ".ci/run",
    ".dockerignore",
    ".pre-commit-config.yaml",
    ".github/workflows/checks.yml",
    ".github/workflows/release.yml",
)


def built(source: Path) -> Path:
    """Build a wheel and an sdist. The folder must be a copy of the sources, because building writes into it."""
    subprocess.run([sys.executable, "-c", BUILD], cwd=source, check=True, capture_output=True)
    return source / "dist"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built packages of the service."""
    source = tmp_path_factory.mktemp("source")
    # With benchmarks and tests, as in a checkout, to check that they are left out.
    for name in (*PACKAGES, "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    (source / "tests").mkdir()
    for name in (ENTRY_POINT, "MANIFEST.in", "pyproject.toml", "README.md", "LICENSE", "tests/test_packaging.py"):
        shutil.copy(ROOT / name, source / name)
    return built(source)


@pytest.fixture(scope="module")
def client_dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built packages of the client."""
    source = tmp_path_factory.mktemp("client") / "python"
    shutil.copytree(CLIENT_SOURCE, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    return built(source)


def package_files() -> set[str]:
    """Names of all files of the packages."""
    files = (path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    return {str(path.relative_to(ROOT)) for path in files if path.parent.name != "__pycache__"} | {ENTRY_POINT}


def project_of(folder: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    return project


def declared() -> list[Requirement]:
    project = project_of(ROOT)
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    lines = (*project["dependencies"], *extras, *project_of(CLIENT_SOURCE)["dependencies"])
    requirements = [Requirement(line) for line in lines]
    # Extras refer to each other by the project's name, and the client is installed from the checkout.
    return [requirement for requirement in requirements if requirement.name not in {project["name"], CLIENT}]


def pin_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def pins() -> dict[str, Version]:
    pairs = (line.split("==") for line in pin_lines())
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_package_files_have_every_suffix() -> None:
    suffixes = {Path(name).suffix for name in package_files()}
    assert suffixes >= {".py", ".js", ".css", ".html", ".mako", ".json", ".safetensors"}


def test_wheel_contains_every_package_file(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        assert package_files() <= set(wheel.namelist())


def test_wheel_contains_only_the_packages_and_the_licence(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {*PACKAGES, ENTRY_POINT}, "neither benchmarks nor tests"


def test_client_wheel_is_typed_and_contains_only_its_package(client_dist: Path) -> None:
    with zipfile.ZipFile(next(client_dist.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    source = CLIENT_SOURCE / "src"
    sources = {str(path.relative_to(source)) for path in (source / "lookalike_client").rglob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == sources | {"lookalike_client/py.typed"}


def test_client_sdist_contains_the_sources_of_the_wheel(client_dist: Path) -> None:
    with tarfile.open(next(client_dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "src/lookalike_client/py.typed"} <= names


def test_client_depends_only_on_httpx_and_pydantic() -> None:
    client = project_of(CLIENT_SOURCE)
    assert {Requirement(line).name for line in client["dependencies"]} == {"httpx", "pydantic"}
    assert client["requires-python"] == ">=3.10"


def test_service_and_client_have_the_same_version() -> None:
    service, client = project_of(ROOT), project_of(CLIENT_SOURCE)
    assert service["version"] == client["version"]
    assert f"{CLIENT}=={client['version']}" in service["dependencies"]


def test_client_has_the_same_licence() -> None:
    assert project_of(CLIENT_SOURCE)["license"] == "Apache-2.0"
    assert (CLIENT_SOURCE / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_sdist_contains_the_sources_of_the_wheel(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert package_files() | {"pyproject.toml", "README.md", "LICENSE"} <= names
    assert not [name for name in names if name.startswith(("benchmarks/", "tests/"))]


def test_constraints_are_exact_public_versions() -> None:
    assert [line for line in pin_lines() if not PIN.fullmatch(line)] == []
    assert len(pins()) == len(pin_lines())


def test_constraints_are_sorted() -> None:
    assert pin_lines() == sorted(pin_lines(), key=str.lower)


@pytest.mark.parametrize("requirement", declared(), ids=str)
def test_declared_dependency_is_pinned_to_a_satisfying_version(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("name", TOOLING)
def test_no_package_index_is_hard_coded(name: str) -> None:
    assert not ADDRESS.search((ROOT / name).read_text())


def test_licence_file_matches_the_declared_licence() -> None:
    assert project_of(ROOT)["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
