"""The packages that the service needs, their licences, and the shared libraries in their wheels."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.licences.policy import CLASSIFIERS, CUDA_PACKAGES, LICENCE_TEXTS, OWN, PACKAGES

ROOT_PACKAGE = "lookalike"
# The extras that images have.
EXTRAS = frozenset({"milvus", "otel", "s3"})
# The project's own.
FIRST_PARTY = (ROOT_PACKAGE, "lookalike-client")
SHARED_LIBRARY = re.compile(r"lib(?P<name>[A-Za-z].*?)(?:[-.][0-9a-f]{8})*(?:[-.][\d.]+)?\.(?:so|dylib)(?:[.\d]*)$")
BUNDLE = re.compile(r"\.(libs|dylibs)$")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Library:
    """A shared library in a wheel.

    Attributes:
        name: without `lib`, version and hash.
        package: whose wheel it is in.
        file: its path in the installation.
    """

    name: str
    package: str
    file: str


def required() -> dict[str, Distribution]:
    """Returns the installed distributions that the service with its extras needs, by name; without CUDA.

    Raises:
        PackageNotFoundError: one is not installed.
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
    """Returns a package's licence as an SPDX expression, or `unknown`: from the table, else from its metadata."""
    stated = PACKAGES.get(canonicalize_name(package.name))
    return stated or _field(package, "License-Expression") or _legacy_licence(package)


def _legacy_licence(package: Distribution) -> str:
    """Reads the fields that came before License-Expression: free text, and classifiers."""
    text = _field(package, "License").strip()
    if LICENCE_TEXTS.get(text.lower()):
        return LICENCE_TEXTS[text.lower()]
    parts = [
        line.rpartition("::")[2].strip() for line in package.metadata.get_all("Classifier", []) if "License" in line
    ]
    licences = [CLASSIFIERS[part] for part in parts if part in CLASSIFIERS]
    if licences:
        return " OR ".join(sorted(set(licences)))
    # Many write an SPDX expression into the free text. Whatever else is in it is found unknown.
    return text if text and "\n" not in text else UNKNOWN


def _field(package: Distribution, name: str) -> str:
    """Returns a field of the metadata that occurs once; empty if it is missing."""
    return str((package.metadata.get_all(name) or [""])[0])


def libraries_in(package: Distribution) -> list[Library]:
    """Returns the shared libraries in a package's wheel, but for those that are its own code."""
    name = canonicalize_name(package.name)
    found = [Library(library, name, file) for library, file in shared_libraries(map(str, package.files or ()))]
    return [library for library in found if not library.name.startswith(OWN.get(name, ("\0",)))]


def shared_libraries(files: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields names and paths of the shared libraries among files; extension modules are not meant.

    A file in a folder of bundled libraries (`NAME.libs`) is one whatever its name.
    """
    for file in files:
        *folders, last = file.split("/")
        if match := SHARED_LIBRARY.fullmatch(last):
            yield match["name"], file
        elif any(BUNDLE.search(folder) for folder in folders):
            yield last, file
