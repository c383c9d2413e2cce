"""Fixtures for all tests, and the honest report of those that could not be run."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.e2e.interruption_report import write_report
from tests.lab import releases
from tests.lab.hosts import LabHost
from tests.lab.lab import Lab, sweep, unusable
from tests.lab.system import outside

# A loaded machine takes its time, and no test is about that.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

NOT_RUN = "NOT RUN: "
_lab_key = pytest.StashKey[Lab]()


def _worker() -> str:
    return os.environ.get("PYTEST_XDIST_WORKER", "main")


def not_run(reason: str) -> pytest.MarkDecorator:
    """Mark a test that this machine can't run: reported loudly at the end, and a failure on CI."""
    return pytest.mark.skip(reason=NOT_RUN + reason)


def pytest_configure(config: pytest.Config) -> None:
    """Keep away from the Prefect of whoever runs the tests, its server, its database, its profile; heed Ctrl-C.

    A shell without job control has its background jobs ignore SIGINT, nohup has its command ignore SIGHUP, and whatever
    they start inherits that: then no test could interrupt a run.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    home = tempfile.TemporaryDirectory(prefix="etcd-flows-tests-prefect-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    os.environ["PREFECT_HOME"] = home.name


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if "lab" in getattr(item, "fixturenames", ())]
    reason = unusable() if needing else None
    for item in needing:
        item.add_marker("lab")
        if reason:
            item.add_marker(not_run(reason))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Move this process into its lab's network before the first test: later, threads and servers would stay outside."""
    chosen = [item for item in session.items if item.get_closest_marker("lab")]
    if not chosen or session.config.option.collectonly or unusable():
        return
    sweep()
    lab = Lab(f"{_worker()}-{os.getpid()}")
    session.config.stash[_lab_key] = lab
    session.config.add_cleanup(lab.close)
    lab.enter()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
    """Say it last, right above the counts: a skip is not a pass."""
    yield
    for line in write_report(terminalreporter):
        terminalreporter.write_line(line)
    for reason, count in _not_run(terminalreporter).items():
        terminalreporter.write_line(f"NOT RUN: {count} tests, because {reason}", red=True, bold=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    on_ci = os.environ.get("CI", "").lower() in {"1", "true", "yes"}
    if on_ci and reporter is not None and _not_run(reporter) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _not_run(reporter: pytest.TerminalReporter) -> dict[str, int]:
    counts: dict[str, int] = {}
    for report in reporter.stats.get("skipped", []):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        _, found, reason = text.partition(NOT_RUN)
        if found:
            counts[reason] = counts.get(reason, 0) + 1
    return counts


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    """The lab that this process is in. Its hosts boot when a test asks for them."""
    return request.config.stash[_lab_key]


@pytest.fixture
def fresh_hosts(lab: Lab) -> Callable[[int], list[LabHost]]:
    """``fresh_hosts(3)``: three booted hosts on pristine disks; no other lab host runs."""
    return lab.fresh


@pytest.fixture(scope="session")
def etcd_binaries() -> Callable[[str], Path]:
    """``etcd_binaries("3.6.16")``: directory with that version's etcd, etcdctl and etcdutl."""

    def get(version: str = releases.VERSIONS[0]) -> Path:
        try:
            return outside(lambda: releases.binaries(version))
        except releases.ReleaseUnavailable as error:
            pytest.skip(f"{NOT_RUN}{error}")

    return get


@pytest.fixture(scope="session")
def etcd_release_dir() -> Path:
    """A mirror directory with all versions that are tested, laid out like the official download tree."""
    try:
        return outside(releases.mirror)
    except releases.ReleaseUnavailable as error:
        pytest.skip(f"{NOT_RUN}{error}")


@pytest.fixture
def etcd_release_server(etcd_release_dir: Path) -> Iterator[str]:
    """URL of an HTTP mirror with the same content, on this process's loopback."""
    with releases.served(etcd_release_dir) as url:
        yield url
