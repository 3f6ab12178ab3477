"""Audit the pinned dependencies of constraints.txt for known vulnerabilities.

    python -m tests.audit

Exit status 1 if there are any. An unreachable package index, or a mirror without vulnerability data, is reported but is
not a failure, so that the checks also run offline.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
AUDIT = ("--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off")


def main() -> int:
    """Print the vulnerabilities; return the exit status."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), *AUDIT]
    audit = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(audit.stdout)["dependencies"]
    except ValueError:
        print("Dependencies were not audited:", (audit.stderr.strip().splitlines() or ["no response"])[-1])
        return 0
    audited = [package for package in found if "vulns" in package]
    vulnerable = [(package, vulnerability) for package in audited for vulnerability in package["vulns"]]
    for package, vulnerability in vulnerable:
        fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    print(f"{len(audited)} of {len(found)} dependencies audited, {len(vulnerable)} known vulnerabilities")
    return bool(vulnerable)


if __name__ == "__main__":
    sys.exit(main())
