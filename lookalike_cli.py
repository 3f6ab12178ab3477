"""Entry point of the `lookalike` command: checks that its packages are the ones that Python finds, then runs it.

The service's packages have common names: `app`, `models` and `migrations`. Another package of such a name on Python's
path hides ours, and the command would fail with a ModuleNotFoundError for a module of ours. This module has a name of
its own, so that it can say so.
"""

import sys
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

OWN = Path(__file__).resolve().parent
PACKAGES = ("app", "models", "migrations")
DISTRIBUTION = "lookalike"
# Each package's __init__.py begins so.
MARK = '"""Lookalike'


def main() -> None:
    """Runs the command line, or ends with a sentence if another package hides one of ours."""
    for name in PACKAGES:
        if problem := shadowed(name):
            sys.exit(problem)
    from app.cli.main import app

    app()


def shadowed(name: str, own: Path = OWN) -> str | None:
    """Returns a sentence if a package's name leads to another package than ours; None if it leads to ours.

    Args:
        name: a top-level package of this distribution.
        own: the folder that they are in.
    """
    found = _location(name)
    if found != str(own / name):
        return (
            f"Another package named {name} hides Lookalike's: Python finds {found!r} instead of {str(own / name)!r}. "
            "Remove its folder from PYTHONPATH, or run lookalike in another folder."
        )
    beginning = own / name / "__init__.py"
    if beginning.is_file() and beginning.read_text("utf-8").startswith(MARK):
        return None
    others = [other for other in packages_distributions().get(name, []) if other != DISTRIBUTION]
    return (
        f"Another package named {name} was installed over Lookalike's in {found!r}: {', '.join(others) or 'unknown'}. "
        "Install Lookalike into a virtual environment of its own."
    )


def _location(name: str) -> str | None:
    """Returns the folder of a package, the file of a module, and None if there is neither."""
    spec = find_spec(name)
    if spec is None:
        return None
    folders = list(spec.submodule_search_locations or ())
    return str(Path(folders[0]).resolve()) if folders else spec.origin


if __name__ == "__main__":
    main()
