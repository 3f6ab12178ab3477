"""Build the packages of a release and check them.

    python -m tests.release                   check that this commit is a release, then build (`make release`)
    python -m tests.release --packages-only   build the packages of any commit

Writes an sdist and a wheel of each package into dist/. Uploads nothing.
"""

import argparse
import io
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FOLDERS = (".", "clients/python")
# The wheel is built from the sdist, so an sdist that lacks a file fails here.
BUILD = (sys.executable, "-m", "build")
CHECK = (sys.executable, "-m", "twine", "check", "--strict")
UNRELEASED = re.compile(r"^## \[?Unreleased\]?$", re.MULTILINE)
HEADING = re.compile(r"^## \[?(?P<version>\d+\.\d+\.\d+)\]?(?: - \d{4}-\d\d-\d\d)?$", re.MULTILINE)


class ReleaseError(Exception):
    """The packages cannot be released; the message has one line for each reason."""


@dataclass(frozen=True)
class Package:
    """A distribution of this repository."""

    folder: Path
    name: str
    version: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.release", description="Build and check the packages.")
    parser.add_argument("--packages-only", action="store_true", help="build any commit; check no tag and no changelog")
    options = parser.parse_args(arguments)
    try:
        files = release(ROOT, packages_only=options.packages_only)
    except ReleaseError as error:
        print(error, file=sys.stderr)
        return 1
    print("Built and checked:", *files, sep="\n  ")
    return 0


def release(root: Path, *, packages_only: bool) -> list[Path]:
    """Build the packages of the current commit into `root/dist`; return the files.

    The build uses an export of the commit, which excludes ignored and uncommitted files.

    Raises:
        ReleaseError: a package is missing or fails a check, or the commit is not a release.
    """
    with TemporaryDirectory() as folder:
        source = Path(folder)
        export(root, source)
        packages = [read_package(source, name) for name in FOLDERS]
        problems = [] if packages_only else list(problems_of(root, source, packages))
        if problems:
            raise ReleaseError("\n".join(problems))
        return build(packages, root / "dist")


def export(root: Path, to: Path) -> None:
    """Write the files of the current commit into a folder."""
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", "HEAD"))) as archive:
        archive.extractall(to, filter="data")


def read_package(source: Path, name: str) -> Package:
    """Read the name and version of the package in a folder.

    Raises:
        ReleaseError: pyproject.toml is missing or has no version.
    """
    path = source / name / "pyproject.toml"
    if not path.is_file():
        reason = "is not in this commit. Commit it, or remove its folder from FOLDERS in tests/release.py."
        raise ReleaseError(f"{Path(name, 'pyproject.toml')} {reason}")
    project = tomllib.loads(path.read_text())["project"]
    if "version" not in project:
        raise ReleaseError(f"{Path(name, 'pyproject.toml')} has no version. Write it there as text, not as dynamic.")
    return Package(path.parent, project["name"], project["version"])


def problems_of(root: Path, source: Path, packages: Sequence[Package]) -> Iterator[str]:
    """Yield reasons why the commit is not a release: version, changelog, tag and working tree must agree."""
    version = packages[0].version
    for package in packages[1:]:
        if package.version != version:
            yield f"{package.name} has version {package.version}, {packages[0].name} {version}. Set both to the same."
    yield from changelog_problems((source / "CHANGELOG.md").read_text(), version)
    tags = git(root, "tag", "--points-at", "HEAD").decode().split()
    if f"v{version}" not in tags:
        found = ", ".join(tags) or "none"
        yield f"Tags of this commit: {found}. Set the tag of this version: git tag --annotate v{version}"
    if changed := git(root, "status", "--porcelain").decode().splitlines():
        yield f"The working tree has {len(changed)} uncommitted files, such as {changed[0][3:]}. Commit or remove them."


def changelog_problems(changelog: str, version: str) -> Iterator[str]:
    """Yield problems of a release's changelog."""
    newest = HEADING.search(changelog)
    if newest is None or newest["version"] != version:
        found = f'"{newest[0]}"' if newest else "none"
        yield f"CHANGELOG.md: the newest heading of a version is {found}. Add the heading of version {version}."
    unreleased = UNRELEASED.search(changelog)
    below = changelog[unreleased.end() :].partition("\n## ")[0] if unreleased else ""
    if below.strip():
        yield f'CHANGELOG.md has entries below "Unreleased". Move them below the heading of version {version}.'


def build(packages: Sequence[Package], dist: Path) -> list[Path]:
    """Build and check an sdist and a wheel of each package; replace the folder `dist`.

    Raises:
        ReleaseError: a build or a check failed.
    """
    shutil.rmtree(dist, ignore_errors=True)
    for package in packages:
        run(*BUILD, "--outdir", str(dist), str(package.folder))
    files = sorted(dist.iterdir())
    wanted = sorted((canonicalize_name(package.name), Version(package.version)) for package in packages)
    for suffix, parse in ((".tar.gz", parse_sdist_filename), (".whl", parse_wheel_filename)):
        found = sorted(parse(path.name)[:2] for path in files if path.name.endswith(suffix))
        if found != wanted:
            raise ReleaseError(f"Built {suffix} files: {found}. Expected: {wanted}.")
    run(*CHECK, *map(str, files))
    return files


def run(*command: str) -> None:
    """Run a command without capturing its output.

    Raises:
        ReleaseError: the command failed.
    """
    status = subprocess.run(command, check=False).returncode
    if status:
        raise ReleaseError(f"{' '.join(command[1:4])} failed with exit status {status}; see its output above.")


def git(root: Path, *arguments: str) -> bytes:
    """Return the output of a git command.

    Raises:
        ReleaseError: git failed, for example outside a repository.
    """
    ended = subprocess.run(("git", "-C", str(root), *arguments), capture_output=True, check=False)
    if ended.returncode:
        raise ReleaseError(f"git {arguments[0]} failed: {ended.stderr.decode(errors='replace').strip()}")
    return ended.stdout


if __name__ == "__main__":
    sys.exit(main())
