"""What pip-audit found, for the continuous integration: a known vulnerability fails it, a missing network is told.

``make audit`` is the strict form for people: there a package that could not be looked up is a failure, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import NOT_RUN

TOOL = Path("build/audit/bin/pip-audit")
REPORT = Path("build/audit/report.json")
OPTIONS = ("--no-deps", "--disable-pip", "--requirement", "constraints.txt", "--format", "json", "--output", REPORT)


def judge(report: dict[str, Any]) -> tuple[int, list[str]]:
    """What to make of a report of ``pip-audit --format json``.

    Returns:
        The exit code (1 if anything is known to be vulnerable), and lines for people.
    """
    packages = report["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {hole['id']}, mended in {', '.join(hole['fix_versions']) or '-'}"
        for package in packages
        for hole in package.get("vulns", ())
    ]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    lines = [f"{len(packages) - len(unknown)} packages looked up, {len(found)} known vulnerabilities", *found]
    if unknown:
        lines.append(f"{NOT_RUN}{len(unknown)} of {len(packages)} packages could not be looked up in the database")
    return (1 if found else 0), lines


def main() -> int:
    """Look up what ``constraints.txt`` pins."""
    REPORT.unlink(missing_ok=True)
    try:
        said = subprocess.run([TOOL, *OPTIONS], capture_output=True, text=True, timeout=600, check=False).stderr
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if not REPORT.exists():  # without any network there is no tool, or it has nothing to report on
        sys.stdout.write(f"{NOT_RUN}the packages could not be looked up: {said.strip()[-300:]}\n")
        return 0
    code, lines = judge(json.loads(REPORT.read_text()))
    sys.stdout.write("\n".join(lines) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
