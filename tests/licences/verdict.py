"""Evaluate licences: whether they allow distribution with Apache-2.0 code, and which contents do not."""

from license_expression import LicenseExpression, get_spdx_licensing

from tests.licences.packages import Library, libraries_in, licence_of, required
from tests.licences.policy import CONTENTS, LEFT_OUT, LIBRARIES, PERMISSIVE, REPLACEABLE

SPDX = get_spdx_licensing()


def can_ship(expression: str) -> bool:
    """Whether an SPDX expression allows distribution with Apache-2.0 code; False for an invalid expression."""
    if SPDX.validate(expression).errors:
        return False
    return _allows(SPDX.parse(expression))


def _allows(parsed: LicenseExpression) -> bool:
    if isinstance(parsed, SPDX.OR):
        return any(map(_allows, parsed.args))
    if isinstance(parsed, SPDX.AND):
        return all(map(_allows, parsed.args))
    return str(parsed) in PERMISSIVE | REPLACEABLE


def problems() -> list[str]:
    """Return an error message for each package, content or library with a forbidden or unknown licence."""
    found: list[str] = []
    for name, package in required().items():
        found += _refused(f"{name} {package.version}", licence_of(package))
        for content, licence in CONTENTS.get(name, ()):
            found += _refused(f"{content} in {name}", licence)
        for library in libraries_in(package):
            found += _problems_of(library)
    return list(dict.fromkeys(found))


def is_left_out(library: Library) -> bool:
    """Whether container images leave out a library."""
    return any((one.package, one.library) == (library.package, library.name) for one in LEFT_OUT)


def _problems_of(library: Library) -> list[str]:
    if is_left_out(library):
        return []
    if library.name not in LIBRARIES:
        return [f"{library.file}: the licence of this library is unknown. Add it to tests/licences/policy.py."]
    return _refused(library.file, LIBRARIES[library.name])


def _refused(what: str, licence: str) -> list[str]:
    if can_ship(licence):
        return []
    return [f"{what}: its licence, {licence!r}, is not allowed. Replace it, or leave it out of images."]
