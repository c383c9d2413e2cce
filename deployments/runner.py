"""Running a flow from the command line: Prefect's surroundings, progress on the terminal, the result printed.

Prefect is imported here and not before. When the configured Prefect API does not answer (it may sit on the dead
etcd) the same flow runs on a local Prefect that ends with the process, and that is said.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import click

from deployments.api import Served
from deployments.api_asking import Way
from deployments.doctor.prefect_api import configured
from deployments.errors import show_error
from deployments.local_prefect import local_prefect
from flows.first_look import look_ahead
from tasks.cluster.load import load_cluster
from tasks.cluster.spec import Cluster
from tasks.errors import EtcdFlowsError, InputError
from tasks.reporting.progress import Event, line, listening
from tasks.snapshots.lean import share_one_heap

#: Seconds that a configured Prefect API has to answer before the run goes on without it.
API_TIMEOUT = 5.0


#: Flows that begin with a look at all hosts, which is begun while Prefect is imported; True if a preflight follows.
LOOKS = {
    "bootstrap_cluster": True,
    "preflight_cluster": True,
    "check_cluster": False,
    "destroy_cluster": False,
    "replace_member": False,
}


def run_flow(flow: str, cluster: str, *, as_json: bool, verbose: bool, parameters: Mapping[str, Any]) -> int:
    """Run one flow and print its result; returns the exit code.

    Args:
        flow: Module and function name below ``flows``.
        cluster: As the user typed it.
        parameters: Further parameters of the flow.
    """
    spec = None
    try:
        _end_in_order()
        spec = load_cluster(cluster).cluster  # problems are told before Prefect's seconds are spent
        gc.disable()
        share_one_heap()
        if flow in LOOKS:
            look_ahead(spec, preflight=LOOKS[flow])
        with listening(Terminal(verbose, quiet=as_json)), _prefect(verbose) as ready:
            run = getattr(importlib.import_module(f"flows.{flow}"), flow)
            # What is imported stays: to look through it for garbage, again and again and at the end of the process
            # once more, takes a third of a second.
            gc.freeze()
            gc.enable()
            ready()
            result = run(cluster=cluster, **parameters)
    except EtcdFlowsError as error:
        return show_error(error, as_json=as_json)
    except KeyboardInterrupt:
        _say("interrupted: what was begun may be half done; the same command carries on from there")
        if spec is not None and flow == "disaster_restore":
            _tell_how_it_stands(spec, cluster)
        return 1
    finally:
        gc.enable()
    if as_json:
        click.echo(json.dumps({"ok": result.exit_code == 0, **result.as_json()}, indent=2))
    else:
        click.echo(result.as_text())
        if told := getattr(result, "shown_once", ""):
            click.echo(told)
    return int(result.exit_code)


def _end_in_order() -> None:
    """Have SIGTERM, and SIGHUP when the terminal goes away, end a run as Ctrl-C does; under nohup it is left running.

    Prefect hands SIGTERM on, once the flow's own ends are done, to whoever had it before.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str, *, colours: bool | None = None) -> None:
    """Print on stderr. A terminal that is gone, or a log on a full disk, stops no run in the middle of its work."""
    with suppress(OSError):
        click.echo(text, err=True, color=colours)


def _tell_how_it_stands(spec: Cluster, called: str) -> None:
    """Of a restore that was interrupted: which member stands how, and the commands to go on or back."""
    from flows.restore_stands import how_it_stands

    _say("asking the hosts how the restore stands ...")
    try:
        _say("\n".join(how_it_stands(spec, called)))
    except KeyboardInterrupt:
        _say("interrupted again: the same command tells, with --plan")


class Terminal:
    """Shows progress on stderr."""

    def __init__(self, verbose: bool, *, quiet: bool) -> None:
        self._verbose = verbose
        self._quiet = quiet
        # Events come from threads, where click knows of no context and thus not that nobody wants colours.
        context = click.get_current_context(silent=True)
        self._colours = context.color if context else None

    def __call__(self, event: Event) -> None:
        """Print an event; a listener of :mod:`tasks.reporting.progress`."""
        if self._quiet and event.kind not in ("warning", "failed"):
            return
        if event.kind == "start" and not self._verbose:
            return
        colour = {"phase": "cyan", "done": "green", "failed": "red", "warning": "yellow"}.get(event.kind)
        _say(click.style(line(event), fg=colour), colours=self._colours)


@contextmanager
def _prefect(verbose: bool) -> Iterator[Callable[[], None]]:
    """Prefect as a command-line tool needs it: quiet, patient at its first start, and independent of a dead server.

    Yields:
        What has to be called before a flow: it waits for the API.
    """
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    if not verbose:
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    silent = _turn_to_served()
    from prefect.settings import (
        PREFECT_API_URL,
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
        PREFECT_UI_URL,
        temporary_settings,
    )

    # A flow waits up to a second for the end of its heartbeat. Somebody sees this run, so unless told it needs none.
    heartless = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    url = PREFECT_API_URL.value()
    if url and _answers(url):
        with temporary_settings(set_defaults=heartless):
            yield lambda: None
        return
    why = f"the Prefect API at {url} does not answer" if url else silent or "no Prefect API is configured"
    _say(f"{why}: running with a local, temporary one (this run is not in a shared UI) ...")
    server = local_prefect()
    patience = float(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
    # Nobody could follow a link to a UI that is gone with the run.
    with temporary_settings({PREFECT_API_URL: server.url, PREFECT_UI_URL: ""}, set_defaults=heartless):
        yield lambda: server.wait(patience)


def _turn_to_served() -> str:
    """Without another API, use the server that ``etcd-flows serve`` runs on this machine, if it does; say so.

    Returns:
        Why not, for people, if one was started here and does not answer.
    """
    served = Served.of(os.environ).environment()
    api = configured(os.environ, Path.cwd()) if served else None
    if api is None or api.url != served["PREFECT_API_URL"] or "PREFECT_API_URL" in os.environ:
        return ""
    if not Way(api.auth).answers(api.url, API_TIMEOUT):
        return f"the Prefect of `etcd-flows serve` on this machine ({api.url}) does not answer"
    os.environ.update(served)
    _say(f"this run is in the UI of `etcd-flows serve`: {api.url.removesuffix('/api')}")
    return ""


def _answers(url: str) -> bool:
    from prefect.settings import get_current_settings

    if not url.startswith(("http://", "https://")):
        raise InputError(f"PREFECT_API_URL is not an http(s) URL: {url}", remedy="correct or unset it")
    api = get_current_settings().api
    auth = api.auth_string.get_secret_value() if api.auth_string else ""
    return Way(auth, api.ssl_cert_file or "", api.tls_insecure_skip_verify).answers(url, API_TIMEOUT)
