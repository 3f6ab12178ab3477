"""List the contents of an installation with their licences; see the package's docstring."""

import sys

from tests.licences.page import PAGE, library_rows, missing_rows, package_rows, page
from tests.licences.verdict import problems


def main(arguments: list[str]) -> int:
    """Print licences and problems; returns the exit status."""
    for row in (*package_rows(), *library_rows()):
        print(*row, sep="\t")
    if "--write" in arguments:
        PAGE.write_text(page())
    found = problems()
    if missing_rows(PAGE.read_text() if PAGE.exists() else ""):
        found.append(f"{PAGE.name} is not up to date. Run `python -m tests.licences --write`.")
    for problem in found:
        print(problem, file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
