"""Generate THIRD_PARTY.md: tables of the third-party contents of an installation."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.licences.packages import libraries_in, licence_of, required
from tests.licences.policy import CONTENTS, LEFT_OUT, LIBRARIES
from tests.licences.verdict import is_left_out

PAGE = Path(__file__).parents[2] / "THIRD_PARTY.md"

INTRODUCTION = """\
# Third-party software

Lookalike is licensed under Apache-2.0. An installation and a container image contain the packages below.
`python -m tests.licences --write` generates this page from the installed packages, and `make licences` checks that it
is complete and that all licences allow distribution with Apache-2.0 code. LGPL libraries are separate files that are
linked dynamically, so that you can replace them. Versions are in `constraints.txt`. Code that is linked statically into
extension modules is covered by the licence files in its package.

The cards of the shipped models state the licences of their weights and data:
[general-small](models/pretrained/general-small.md), [general-large](models/pretrained/general-large.md),
[clothing](models/pretrained/clothing.md), and of earlier versions [general](models/pretrained/general.md).
"""

LEFT_OUT_TEXT = """\
## Not in images

These libraries are in wheels that `pip` installs from a package index, and their licences do not allow distribution
with Apache-2.0 code. Images do not contain them (`docker/Dockerfile`). Before you distribute an installation made with
`pip`, delete them too.
"""

CUDA_TEXT = """\
PyPI's torch for Linux also installs NVIDIA's CUDA libraries (`nvidia-*`, `cuda-*`), which have NVIDIA's own terms, and
`triton` (MIT). PyTorch's CPU build has none of these. An image made with `DEVICE=cuda` contains them.
"""


def page() -> str:
    """Return the whole page."""
    sections = [
        INTRODUCTION,
        "## Packages\n",
        table(("package", "licence"), package_rows()),
        "## Libraries in their wheels\n",
        table(("library", "package", "licence"), library_rows()),
        "## Other contents of their wheels\n",
        table(("content", "package", "licence"), content_rows()),
        LEFT_OUT_TEXT,
        table(("library", "package", "licence", "what it is for"), left_out_rows()),
        CUDA_TEXT,
    ]
    return "\n".join(sections)


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [heads, tuple("---" for _ in heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def package_rows() -> Iterator[tuple[str, str]]:
    for name, package in required().items():
        yield name, licence_of(package)


def library_rows() -> Iterator[tuple[str, str, str]]:
    pairs = {
        (library.name, library.package)
        for package in required().values()
        for library in libraries_in(package)
        if not is_left_out(library)
    }
    for name, package in sorted(pairs, key=lambda pair: (pair[0].lower(), pair[1])):
        yield f"lib{name}", package, LIBRARIES.get(name, "unknown")


def content_rows() -> Iterator[tuple[str, str, str]]:
    for package in required():
        for content, licence in CONTENTS.get(package, ()):
            yield content, package, licence


def left_out_rows() -> Iterator[tuple[str, str, str, str]]:
    for one in LEFT_OUT:
        yield f"lib{one.library}", one.package, one.licence, one.reason


def missing_rows(written: str) -> list[str]:
    """Return the rows of an up-to-date page that are missing in a written one."""
    lines = set(written.splitlines())
    return [line for line in page().splitlines() if line not in lines]


def surplus_rows(written: str) -> list[str]:
    """Return the rows of a written page that are outdated."""
    lines = set(page().splitlines())
    return [line for line in written.splitlines() if line not in lines]
