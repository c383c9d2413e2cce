"""Prometheus, Alertmanager and node_exporter for tests: from Debian's packages, which need nothing but the C library.

Run as a script to fill the cache: ``python -m tests.monitoring.programs``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.lab.debian import PackagesUnavailable, unpacked
from tests.lab.system import outside

SUITE = os.environ.get("ETCD_FLOWS_PROMETHEUS_SUITE", "forky")
PACKAGES = ("prometheus", "promtool", "prometheus-alertmanager")


def folder() -> Path:
    """The directory with ``prometheus``, ``promtool``, ``prometheus-alertmanager`` and ``amtool``.

    Raises:
        PackagesUnavailable: They can't be had here.
    """
    return unpacked("prometheus", SUITE, PACKAGES, alone=True) / "usr/bin"


def exporter_folder() -> Path:
    """The directory with ``prometheus-node-exporter``.

    Raises:
        PackagesUnavailable: It can't be had here.
    """
    return unpacked("node-exporter", SUITE, ("prometheus-node-exporter",), alone=True) / "usr/bin"


def program(name: str) -> Path:
    """One of them, for a test, which is reported as not run where it can't be had."""
    try:
        return outside(exporter_folder if name == "prometheus-node-exporter" else folder) / name
    except PackagesUnavailable as error:
        pytest.skip(f"NOT RUN: {error}")


if __name__ == "__main__":
    try:
        print(folder(), exporter_folder())
    except PackagesUnavailable as problem:
        sys.exit(f"prometheus: {problem}")
