"""Run the tests that failed once more, alone: ``python -m tests.again CODE``, after a run that ended with that code.

A run keeps both cores busy for half an hour, and some tests wait for things with a limit. A failure that goes away when
the test runs alone is still worth a look, so every one is named, loudly; but it does not fail the run. Failures of
more tests than ``MOST`` are no bad luck and are not tried again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

#: Of about 2000 tests.
MOST = 8
#: Where pytest notes them (its cache plugin).
FAILED = Path(".pytest_cache/v/cache/lastfailed")


def failed() -> list[str]:
    """The node ids of what failed in the last run, in order; none if it ended before a test did."""
    return sorted(json.loads(FAILED.read_text())) if FAILED.is_file() else []


def main(code: int) -> int:
    """Run them, if the run came to its end and some failed; the exit code."""
    if code != pytest.ExitCode.TESTS_FAILED:
        return code
    tests = failed()
    if not 0 < len(tests) <= MOST:
        print(f"{len(tests)} tests failed: not run again")
        return 1
    print(f"{len(tests)} tests failed; once more, alone:", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "-v", *tests], check=False).returncode
    if code == 0:
        print("FAILED AT FIRST, PASSED WHEN RUN AGAIN ALONE:", *tests, sep="\n  ")
    return code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
