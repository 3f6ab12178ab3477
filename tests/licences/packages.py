"""Find the packages that the service requires, their licences, and the shared libraries in their wheels."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.licences.policy import CLASSIFIERS, CUDA_PACKAGES, LICENCE_TEXTS, OWN, PACKAGES

ROOT_PACKAGE = "lookalike"
# Extras that container images may include.
EXTRAS = frozenset({"milvus", "otel", "quantise", "s3"})
# The project's own distributions.
FIRST_PARTY = (ROOT_PACKAGE, "lookalike-client")
SHARED_LIBRARY = re.compile(r"lib(?P<name>[A-Za-z].*?)(?:[-.][0-9a-f]{8})*(?:[-.][\d.]+)?\.(?:so|dylib)(?:[.\d]*)$")
BUNDLE = re.compile(r"\.(libs|dylibs)$")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Library:
    """A shared library in a wheel.

    Attributes:
        name: without `lib`, version and hash.
        package: the package whose wheel contains it.
        file: its path in the installation.
    """

    name: str
    package: str
    file: str


def required() -> dict[str, Distribution]:
    """Return the installed distributions that the service and its extras require, by name, without CUDA.

    Raises:
        PackageNotFoundError: a required package is not installed.
    """
    extras_of: dict[str, frozenset[str]] = {}
    found: dict[str, Distribution] = {}
    pending = [(ROOT_PACKAGE, EXTRAS)]
    while pending:
        name, extras = pending.pop()
        known = extras_of.get(name)
        if (known is not None and extras <= known) or name.startswith(CUDA_PACKAGES):
            continue
        extras_of[name] = extras | (known or frozenset())
        found[name] = distribution(name)
        pending += _requirements(found[name].requires or (), extras_of[name])
    return {name: found[name] for name in sorted(found) if name not in FIRST_PARTY}


def _requirements(lines: Iterable[str], extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for requirement in map(Requirement, lines):
        wanted = [{"extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(map(requirement.marker.evaluate, wanted)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def licence_of(package: Distribution) -> str:
    """Return a package's licence as an SPDX expression, from the table or its metadata, or `unknown`."""
    stated = PACKAGES.get(canonicalize_name(package.name))
    return stated or _field(package, "License-Expression") or _legacy_licence(package)


def _legacy_licence(package: Distribution) -> str:
    """Read the licence from the older metadata fields: free text and classifiers."""
    text = _field(package, "License").strip()
    if LICENCE_TEXTS.get(text.lower()):
        return LICENCE_TEXTS[text.lower()]
    parts = [
        line.rpartition("::")[2].strip() for line in package.metadata.get_all("Classifier", []) if "License" in line
    ]
    licences = [CLASSIFIERS[part] for part in parts if part in CLASSIFIERS]
    if licences:
        return " OR ".join(sorted(set(licences)))
    # The free text is often an SPDX expression. Other text is later reported as unknown.
    return text if text and "\n" not in text else UNKNOWN


def _field(package: Distribution, name: str) -> str:
    """Return a metadata field that occurs at most once; empty if it is missing."""
    return str((package.metadata.get_all(name) or [""])[0])


def libraries_in(package: Distribution) -> list[Library]:
    """Return the third-party shared libraries in a package's wheel."""
    name = canonicalize_name(package.name)
    found = [Library(library, name, file) for library, file in shared_libraries(map(str, package.files or ()))]
    return [library for library in found if not library.name.startswith(OWN.get(name, ("\0",)))]


def shared_libraries(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield names and paths of the shared libraries among files, without extension modules.

    Every file in a folder of bundled libraries (`NAME.libs`) counts as one.
    """
    for file in files:
        *folders, last = file.split("/")
        if match := SHARED_LIBRARY.fullmatch(last):
            yield match["name"], file
        elif any(BUNDLE.search(folder) for folder in folders):
            yield last, file
