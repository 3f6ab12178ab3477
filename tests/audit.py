"""Asks the package index whether anything that constraints.txt names has a known weakness.

    python -m tests.audit

Ends with 1 where it has. An index that cannot be asked, or a mirror that knows no weaknesses, is told and is no
failure: what can be installed can be tested.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
AUDIT = ("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")


def main() -> int:
    """Prints what was found, or that nothing could be asked."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), *AUDIT]
    audit = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(audit.stdout)["dependencies"]
    except ValueError:
        print("Dependencies were not audited:", (audit.stderr.strip().splitlines() or ["no answer"])[-1])
        return 0
    audited = [package for package in found if "vulns" in package]
    weak = [(package, weakness) for package in audited for weakness in package["vulns"]]
    for package, weakness in weak:
        fixed = ", ".join(weakness["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {weakness['id']}, mended in {fixed}")
    print(f"{len(audited)} of {len(found)} dependencies audited, {len(weak)} known weaknesses")
    return bool(weak)


if __name__ == "__main__":
    sys.exit(main())
